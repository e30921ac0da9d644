// Which process of a Postgres crashed, and what it ran then: what its own log says. This is how a
// query that kills every leader is told from a leader that somebody else killed.

/** What is kept of a query, in characters: enough to tell one from another. */
const QUERY_CHARS_MAX = 1000

const CRASHED = /\bLOG:\s+(.+?) \(PID \d+\) was (terminated by signal \d+(?:: .+)?)$/
const RUNNING = /\bDETAIL:\s+Failed process was running: (.*)$/
/** A line of the log that begins with a time: what follows without one belongs to it. */
const BEGINS = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/

/**
 * The first process that crashed by `log`, as `server process was terminated by signal 9: Killed
 * while running: SELECT 1`; undefined where none did. Others that end with it are no cause.
 */
export function crashIn(log: string): string | undefined {
  const lines = log.split('\n')
  const at = lines.findIndex((line) => CRASHED.test(line))
  const [, who, how] = CRASHED.exec(lines[at] ?? '') ?? []
  if (who === undefined || how === undefined) return undefined
  const query = queryAfter(lines, at + 1)
  return query === undefined ? `${who} was ${how}` : `${who} was ${how} while running: ${query}`
}

/** In one line, cut where it is long. */
function queryAfter(lines: readonly string[], at: number): string | undefined {
  const first = RUNNING.exec(lines[at] ?? '')?.[1]
  if (first === undefined) return undefined
  const end = lines.findIndex((line, index) => index > at && BEGINS.test(line))
  const text = [first, ...lines.slice(at + 1, end < 0 ? undefined : end)].join(' ')
  return text.replace(/\s+/g, ' ').trim().slice(0, QUERY_CHARS_MAX)
}
