import { hostname, userInfo } from 'node:os'

/** For people: who asks. */
export function operator(): string {
  const { username, uid } = userInfo()
  const name = username === 'unknown' ? (uid === 0 ? 'root' : `user ${uid}`) : username
  return `${name} on ${hostname()}`
}
