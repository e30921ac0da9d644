// An acknowledged write is on as many nodes as the cluster promises: synchronous_commit may not be
// set to anything that acknowledges sooner.

/** The setting that says when a commit is acknowledged. */
export const COMMIT_SETTING = 'synchronous_commit'

/** Values that wait for what the cluster's durability asks for. */
const STRONG = /^(?:on|true|yes|1|remote_apply|t|tr|tru|y|ye)$/i

/** Whether commits under this value of synchronous_commit wait as the cluster promises. */
export function keepsCommitPolicy(value: string): boolean {
  return STRONG.test(value)
}
