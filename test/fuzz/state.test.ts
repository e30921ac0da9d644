// Goal: what a session sets, makes and holds is its own, whoever runs in between, and nobody else's.
// Method: seeded scripts of several sessions in turn, each step one statement about session state,
// played straight at a Postgres and through gateway and pooler over a pool as small as can be; what
// each step is answered must be the same. FUZZ_SECONDS sets the length (6), SEED repeats a run.
import { expect, test } from 'bun:test'
import { startHarness, type Harness, type Via } from '../gateway/harness.ts'
import type { Frontend } from '../support/frontend.ts'
import { Random, runSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { SETUP, stateScript, type Step } from './state-script.ts'

const SECONDS = Number(Bun.env['FUZZ_SECONDS'] ?? 6)
const SESSIONS = 4
const STEPS = 60
const CHANCES = 3
/** Sessions that are gone have left nothing; on a busy machine that takes a while. */
const CLEAN_MS = 30_000
/** Everything, with a backend for each session at most; and what can share one backend. */
const KINDS = [
  { name: 'everything', shared: false, poolSize: SESSIONS },
  { name: 'settings over a pool of one', shared: true, poolSize: 1 },
]
const SHORT_SEED = 20_261_121
const seed = runSeed('state fuzz', Bun.env['FUZZ_SECONDS'] === undefined ? SHORT_SEED : undefined)

test.each(KINDS)(
  '$name: the gateway answers as Postgres does',
  async ({ shared, poolSize }) => {
    await using harness = await startHarness({ pooler: { poolSize, poolWarmSize: 0 } })
    await using admin = await harness.connect('postgres')
    for (const text of SETUP) await admin.query(text)
    const untilMs = Date.now() + (SECONDS * 1000) / KINDS.length
    const random = new Random(seed)
    let scripts = 0
    while (Date.now() < untilMs) {
      const script = stateScript(random, { sessions: SESSIONS, steps: STEPS, shared })
      const direct = await play(harness, 'postgres', script)
      const through = await play(harness, 'gateway', script)
      const at = direct.findIndex((lines, i) => !alike(lines, through[i] ?? []))
      if (at >= 0 && !(await isChance(harness, script, { at, through: through[at] ?? [] }))) {
        tell(script, at)
        expect(through[at]).toEqual(direct[at] ?? [])
      }
      scripts++
    }
    console.error(`${scripts} scripts of ${STEPS} steps`)
    expect(scripts).toBeGreaterThan(0)
  },
  SECONDS * 1000 + 60_000,
)

/** What each step was answered, a line a message. */
async function play(harness: Harness, via: Via, script: readonly Step[]): Promise<string[][]> {
  await using stack = new AsyncDisposableStack()
  const connect = async (to: Via): Promise<Frontend> => stack.use(await harness.connect(to))
  const admin = await connect('postgres')
  const others = "select count(*) from pg_locks where locktype = 'advisory'"
  await until(async () => (await admin.row(others))[0] === '0', { deadlineMs: CLEAN_MS })
  await admin.query("select setval('fuzz_seq', 100, false)")
  const sessions: Frontend[] = []
  for (let i = 0; i < SESSIONS; i++) sessions.push(await connect(via))
  const answers: string[][] = []
  for (const { session, bytes } of script) {
    const frontend = sessions[session] as Frontend
    frontend.send(bytes)
    try {
      answers.push(inOrder(await frontend.untilReadyForQuery()))
    } catch (error) {
      tell(script, answers.length)
      console.error(`via ${via}:`, error, frontend.errors.at(-1))
      throw error
    }
  }
  return answers
}

/** Shows what the session of a step had done up to it. */
function tell(script: readonly Step[], at: number): void {
  const of = script[at]?.session
  const mine = script.slice(0, at + 1).filter(({ session }) => session === of)
  console.error(mine.map(({ text }) => `${of}: ${text}`).join('\n'))
}

/**
 * Whether Postgres itself may answer as the gateway did. It reads the literals of a prepared
 * statement again, under the settings of that moment, when its caches were reset meanwhile: what
 * others do in the catalogs can be the reason.
 */
async function isChance(
  harness: Harness,
  script: readonly Step[],
  { at, through }: { at: number; through: readonly string[] },
): Promise<boolean> {
  if (!/^(bind|execute|create temp table made)\b/.test(script[at]?.text ?? '')) return false
  for (let times = 0; times < CHANCES; times++) {
    const again = await play(harness, 'postgres', script)
    if (alike(again[at] ?? [], through)) return true
  }
  return false
}

/** In a failed transaction everything fails, and not always for the same reason. */
function alike(direct: readonly string[], through: readonly string[]): boolean {
  if (direct.join('\n') === through.join('\n')) return true
  const failed = (lines: readonly string[]): boolean =>
    lines.length === 2 && lines.join().endsWith(',ReadyForQuery failed')
  return failed(direct) && failed(through) && through[0] === 'ErrorResponse ERROR 25P02'
}

/** ParameterStatus has no order of its own, and may come anywhere before ReadyForQuery. */
function inOrder(lines: readonly string[]): string[] {
  const told = (line: string): boolean => line.startsWith('ParameterStatus')
  return [...lines.filter((line) => !told(line)), ...lines.filter(told).toSorted()]
}
