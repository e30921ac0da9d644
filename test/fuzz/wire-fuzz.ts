import type { Address } from '../support/frontend.ts'
import { Random } from '../support/random.ts'
import { play, type Outcome } from './wire-play.ts'
import { messagesOf, readable, wireScript } from './wire-script.ts'

/** One difference between a server and the oracle, with what is needed to play it again. */
export type Difference = {
  seed: number
  script: string[]
  bytes: string
  oracle: Outcome
  server: Outcome
}

/** What a run of the fuzzer found. */
export type FuzzReport = {
  scripts: number
  /** Scripts that both ended by closing the connection, one a little earlier than the other. */
  closed: number
  differences: Difference[]
}

/** How long, how many at a time, and when to give up. */
export type FuzzOptions = { seed: number; untilMs: number; lanes: number; differencesMax: number }

/**
 * Plays seeded scripts at the oracle (a direct Postgres) and at `server` until `untilMs`, several at
 * a time. Script N of a run has the seed `seed` + N.
 */
export async function fuzz(
  oracle: Address,
  server: Address,
  options: FuzzOptions,
): Promise<FuzzReport> {
  const report: FuzzReport = { scripts: 0, closed: 0, differences: [] }
  const lane = async (): Promise<void> => {
    while (Date.now() < options.untilMs && report.differences.length < options.differencesMax) {
      const seed = options.seed + report.scripts
      report.scripts += 1
      await compare(oracle, server, seed, report)
    }
  }
  await Promise.all(Array.from({ length: options.lanes }, lane))
  return report
}

async function compare(
  oracle: Address,
  server: Address,
  seed: number,
  report: FuzzReport,
): Promise<void> {
  const playBoth = async (script: Buffer): Promise<Played> => {
    const [expected, actual] = await Promise.all([play(oracle, script), play(server, script)])
    return { script, oracle: expected, server: actual, verdict: judge(expected, actual) }
  }
  const played = await playBoth(wireScript(new Random(seed)))
  if (played.verdict === 'closed') report.closed += 1
  if (played.verdict !== 'differs') return
  const { script, ...outcomes } = await shrink(played, playBoth)
  report.differences.push({
    seed,
    script: readable(script),
    bytes: script.toString('base64'),
    oracle: outcomes.oracle,
    server: outcomes.server,
  })
}

type Verdict = 'same' | 'closed' | 'differs'
type Played = { script: Buffer; oracle: Outcome; server: Outcome; verdict: Verdict }

/** Leaves out messages as long as the servers still differ: what remains shows why. */
async function shrink(
  found: Played,
  playBoth: (script: Buffer) => Promise<Played>,
): Promise<Played> {
  let best = found
  let messages = messagesOf(found.script)
  for (let size = Math.ceil(messages.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < messages.length;) {
      const fewer = messages.toSpliced(at, size)
      const played = await playBoth(Buffer.concat(fewer))
      if (played.verdict === 'differs') {
        best = played
        messages = fewer
      } else {
        at += size
      }
    }
  }
  return best
}

function judge(expected: Outcome, actual: Outcome): Verdict {
  // Postgres itself lost its way (FunctionCall behind unsynced messages): there is no right answer.
  if (expected.lines.some((line) => line.includes(' XX000 '))) return 'same'
  const known = withoutFailedBatches(expected.lines, actual.lines)
  if (expected.end === actual.end && Bun.deepEquals(...known)) return 'same'
  return bothClosed(expected, actual) ? 'closed' : 'differs'
}

const FAILED = 'ReadyForQuery failed'

/**
 * Leaves out of both what is known to differ: in a failed transaction a statement that was prepared
 * elsewhere cannot be prepared here, so that Describe of it, or a duplicate of its name, is 25P02
 * like all else, where Postgres has another answer.
 */
function withoutFailedBatches(expected: string[], actual: string[]): [string[], string[]] {
  const [ours, theirs] = [batchesOf(expected), batchesOf(actual)]
  const refused = theirs.map(
    (batch, i) =>
      theirs[i - 1]?.at(-1) === FAILED &&
      batch.at(-1) === FAILED &&
      batch.at(-2)?.startsWith('ErrorResponse ERROR 25P02') === true,
  )
  const others = (batches: string[][]): string[] => batches.filter((_, i) => !refused[i]).flat()
  return [others(ours), others(theirs)]
}

/** Cuts lines behind each ReadyForQuery. */
function batchesOf(lines: readonly string[]): string[][] {
  const batches: string[][] = [[]]
  for (const line of lines) {
    batches.at(-1)?.push(line)
    if (line.startsWith('ReadyForQuery')) batches.push([])
  }
  return batches
}

/**
 * Where the oracle closes on what it cannot read, the server closes too, and neither has said what
 * the other did not: answers that were not sent yet when the connection ended may be missing.
 */
function bothClosed(expected: Outcome, actual: Outcome): boolean {
  if (expected.end !== 'closed' || actual.end !== 'closed') return false
  const isFarewell = (line: string): boolean => line.startsWith('ErrorResponse FATAL')
  const [shorter = [], longer = []] = withoutFailedBatches(expected.lines, actual.lines)
    .map((lines) => lines.filter((line) => !isFarewell(line)))
    .toSorted((a, b) => a.length - b.length)
  return shorter.every((line, i) => line === longer[i])
}
