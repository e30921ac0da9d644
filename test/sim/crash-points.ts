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

function around(step: string): string[] {
  return [`${step}, before`, `${step}, after`]
}
