// What the orchestrators' logs say about one round: how long each step of a failover took.
import type { Site } from './site.ts'

type Line = { readonly time: string; readonly message: string } & Readonly<Record<string, unknown>>

/** Milliseconds; undefined where nothing of the kind was logged. */
export type Story = {
  /** From the fault until the recruitment that succeeded began, and how many began before it. */
  readonly detectMs: number | undefined
  readonly attempts: number
  readonly recruitMs: number | undefined
  /** The new leader's Postgres, its rule, and what was left of the wait for the old lease. */
  readonly promoteMs: number | undefined
  readonly appointedAtMs: number | undefined
}

/** `sinceMs` is wall time. */
export function tellStory(site: Site, sinceMs: number): Story {
  const lines = site.orchs
    .flatMap(({ log }) => log.split('\n'))
    .flatMap((line) => parse(line))
    .filter(({ time }) => Date.parse(time) >= sinceMs)
    .toSorted((a, b) => Date.parse(a.time) - Date.parse(b.time))
  const appointed = lines.find(({ message }) => message === 'appointed')
  const recruiting = lines.filter(({ message, time }) => {
    return message === 'recruiting' && (appointed === undefined || time <= appointed.time)
  })
  const last = recruiting.at(-1)
  return {
    detectMs: last === undefined ? undefined : Date.parse(last.time) - sinceMs,
    attempts: recruiting.length,
    recruitMs: numberOf(appointed, 'recruit_ms'),
    promoteMs: numberOf(appointed, 'promote_ms'),
    appointedAtMs: appointed === undefined ? undefined : Date.parse(appointed.time) - sinceMs,
  }
}

/** For a person. */
export function storyLine(story: Story): string {
  const { detectMs, attempts, recruitMs, promoteMs, appointedAtMs } = story
  if (appointedAtMs === undefined) {
    return attempts === 0 ? 'no failover' : `${attempts} recruitments, nobody appointed`
  }
  return (
    `detect ${detectMs} (attempt ${attempts}), recruit ${recruitMs}, promote ${promoteMs}, ` +
    `appointed at ${appointedAtMs}`
  )
}

function parse(line: string): Line[] {
  if (!line.startsWith('{')) return []
  try {
    return [JSON.parse(line) as Line]
  } catch {
    return [] // cut off by a kill
  }
}

function numberOf(line: Line | undefined, name: string): number | undefined {
  const value = line?.[name]
  return typeof value === 'number' ? value : undefined
}
