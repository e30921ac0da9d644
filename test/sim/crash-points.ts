/** Every step at which a process can die: each await on something outside it, before and after. */
export const CRASH_POINTS: readonly string[] = [
  ...around('looking at replay'),
  ...around('looking'),
  ...around('looking at followers'),
  ...around('reading the list'),
  ...around('ending readers'),
  ...around('reading the rule'),
  ...around('proposing'),
  ...around('deciding'),
  ...around('reading the flush LSN'),
  ...around('reading the own end'),
  "reading the leader's WAL",
  'asking for a stream',
  ...around('writing the promise: revocation'),
  ...around('writing the promise: promoting'),
  ...around('writing the promise: opened'),
  ...around('writing the promise: recruitBlockedUntil'),
  ...around('pgctld status'),
  ...around('pgctld start'),
  ...around('pgctld restart'),
  ...around('pgctld stop'),
  ...around('pgctld reload'),
  ...around('pgctld promote'),
  ...around('pgctld clone'),
  ...around('postgres stops'),
  ...around('pgctld starts Postgres'),
  ...around('pgctld promotes'),
  ...around('pgctld copies'),
  ...['recruit', 'promote', 'setPrimary', 'cloneFrom', 'grant'].flatMap((method) => [
    `asked to ${method}`,
    `answering ${method}`,
    `the answer to ${method}`,
  ]),
  'a timer',
]

/** Steps that a run seldom comes to are aimed at as many times as often as others. */
const RARE: Readonly<Record<string, number>> = {
  'pgctld stop, before': 4,
  'pgctld stop, after': 6,
  'asking for a stream': 6,
  'pgctld start, before': 2,
  'pgctld start, after': 3,
  'pgctld starts Postgres, after': 3,
  'pgctld clone, after': 3,
  'answering cloneFrom': 2,
  'the answer to cloneFrom': 2,
  'reading the own end, before': 2,
  'reading the list, before': 2,
  'reading the rule, after': 2,
  'ending readers, before': 2,
  'writing the promise: recruitBlockedUntil, before': 2,
  'postgres stops, before': 2,
  'proposing, after': 2,
}

/** What a run picks from. */
export const AIMS: readonly string[] = CRASH_POINTS.flatMap((point) =>
  Array.from({ length: RARE[point] ?? 1 }, () => point),
)

function around(step: string): string[] {
  return [`${step}, before`, `${step}, after`]
}
