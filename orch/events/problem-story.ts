// Problems as events: found, changed in what they say, gone.
import type { Tell } from '../../shared/events/cluster-event.ts'
import type { Problem, ProblemCode } from '../analyze/problem.ts'

/** What keeps no client waiting is told once it lasts: what mends itself at once is no news. */
const QUIET_TROUBLE_MS = 500

const isQuiet = ({ code, member }: Problem): boolean =>
  member !== '' || code === 'CLAIM_NOT_DECIDED'

type Known = {
  readonly sinceMs: number
  code: ProblemCode
  description: string
  told: boolean
}

/** Codes that tell of one thing, which goes from one to the other: that nobody serves. */
const subject = (code: ProblemCode): ProblemCode =>
  code === 'LEADER_NOT_SERVING' ? 'NO_LEADER' : code

/** Of one shard. */
export class ProblemStory {
  readonly #tell: Tell
  readonly #known = new Map<string, Known>()

  constructor(tell: Tell) {
    this.#tell = tell
  }

  /** Tells what differs from the last look; `nowMs` by the monotonic clock. */
  observe(problems: readonly Problem[], nowMs: number): void {
    const present = new Set<string>()
    for (const problem of problems) {
      const key = `${subject(problem.code)} ${problem.member}`
      present.add(key)
      this.#observe(key, problem, nowMs)
    }
    for (const [key, known] of this.#known) {
      if (present.has(key)) continue
      this.#known.delete(key)
      if (!known.told) continue
      const { code } = known
      const [, member = ''] = key.split(' ')
      const tookMs = nowMs - known.sinceMs
      const text = `${code}${member && ` of ${member}`} is over, after ${Math.round(tookMs)} ms`
      this.#tell('problem.gone', { text, member, reason: code, tookMs, seen: true })
    }
  }

  #observe(key: string, problem: Problem, nowMs: number): void {
    const { code, member, description } = problem
    const known = this.#known.get(key) ?? { sinceMs: nowMs, code, description, told: false }
    this.#known.set(key, known)
    const changed = sameness(known.description) !== sameness(description)
    known.description = description
    known.code = code
    const text = `${code}: ${description}`
    if (!known.told) {
      if (isQuiet(problem) && nowMs - known.sinceMs < QUIET_TROUBLE_MS) return
      known.told = true
      this.#tell('problem.found', { text, member, reason: code, seen: true })
    } else if (changed && !description.endsWith('is under way'))
      this.#tell('problem.changed', { text, member, reason: code, seen: true })
  }
}

/** Figures that only grow are no news. */
const sameness = (text: string): string => text.replace(/\d+/g, '0')
