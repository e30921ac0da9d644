// How many batches could leave their backend free at best: what each backend really held behind
// each batch, and, of sequences, whether the session asked for their last value later on.
import { Pin } from '../../shared/link/frame.ts'
import type { Probed } from './probe.ts'
import type { SessionFigures } from './relay.ts'
import { percent } from './report.ts'

const READS_SEQUENCE = /\b(?:currval|lastval)\b/i
const NAMES: readonly (readonly [number, string])[] = [
  [Pin.TempObjects, 'temp objects'],
  [Pin.SqlPrepare, 'sql prepare'],
  [Pin.CursorWithHold, 'cursor with hold'],
  [Pin.AdvisoryLock, 'advisory lock'],
  [Pin.Listen, 'listen'],
  [Pin.Sequence, 'sequence'],
]

/** Of one session: by batch the pins that a backend of its own is needed for; undefined inside. */
export function neededPins(probed: readonly Probed[]): (number | undefined)[] {
  const lastRead = probed.findLastIndex(({ text }) => READS_SEQUENCE.test(text))
  return probed.map(({ holding }, at) => {
    if (holding === undefined) return undefined
    const sequence = holding.lastval !== undefined && at < lastRead
    return holding.pins | (sequence ? Pin.Sequence : 0)
  })
}

/** What the ceiling is, in a few lines. */
export function oracleSummary(sessions: readonly SessionFigures[]): string {
  const of = sessions.map(({ probed = [] }) => probed)
  const all = of.flatMap(neededPins)
  const idle = all.filter((pins) => pins !== undefined)
  const free = idle.filter((pins) => pins === 0).length
  const moved = of.flat().filter(({ holding }) => holding?.lastval !== undefined).length
  const share = (count: number): string => `${count} = ${percent(count, idle.length)}`
  const reasons = NAMES.map(([pin, name]) => {
    const alone = idle.filter((pins) => pins === pin).length
    return `${name} ${share(idle.filter((pins) => (pins & pin) !== 0).length)} (alone ${alone})`
  })
  const inside = percent(all.length - idle.length, all.length)
  return [
    `batches: ${all.length}, inside of transactions: ${inside}`,
    `of the ${idle.length} others a backend of its own is needed by nothing: ${share(free)}`,
    `needed by: ${reasons.join(', ')}`,
    `sequences were advanced before, asked about or not: ${share(moved)}`,
    '',
  ].join('\n')
}

/** The same test by test, least free first. */
export function oracleTable(tests: ReadonlyMap<string, readonly SessionFigures[]>): string {
  const rows = [...tests].map(([test, sessions]) => {
    const pins = sessions.flatMap(({ probed = [] }) => neededPins(probed))
    const idle = pins.filter((each) => each !== undefined)
    const held = idle.filter((each) => each !== 0)
    const union = held.reduce((all, each) => all | each, 0)
    const names = NAMES.filter(([pin]) => (union & pin) !== 0).map(([, name]) => name)
    return { test, held: held.length, idle: idle.length, names }
  })
  const lines = rows
    .toSorted((a, b) => b.held - a.held)
    .map(({ test, held, idle, names }) => {
      const count = `${String(held).padStart(6)} of ${String(idle).padStart(5)}`
      return `${count}  ${test}: ${names.join(' + ')}`
    })
  return `${lines.join('\n')}\n`
}
