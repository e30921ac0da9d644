// What members come to, as events: a copy begins and ends, somebody streams from another.
import type { Tell } from '../../shared/events/cluster-event.ts'
import { now } from '../../shared/time/clock.ts'
import { type FreshMember, isFresh, isPointedAt, type ShardSnapshot } from '../analyze/snapshot.ts'

/** Actions of a member that outlive the call that began them. */
const LONG = new Set(['clone', 'rewind'])

/** Of one shard. */
export class MemberStory {
  readonly #tell: Tell
  readonly #streams = new Map<string, string>()
  readonly #since = new Map<string, { readonly name: string; readonly atMs: number }>()

  constructor(tell: Tell) {
    this.#tell = tell
  }

  /** Notices what began and what ended. */
  observe(snapshot: ShardSnapshot): void {
    for (const member of snapshot.members) {
      if (!isFresh(member)) continue
      this.#noticeLong(member)
      this.#noticeStream(member, snapshot)
    }
  }

  #noticeLong(member: FreshMember): void {
    const { id } = member
    const { name = '', detail = '', runningMs = 0, lastError = '' } = member.status.action ?? {}
    const running = LONG.has(name) ? name : ''
    const known = this.#since.get(id)
    if ((known?.name ?? '') === running) return
    if (known !== undefined) this.#ended(id, known, lastError)
    if (running === '') return
    this.#since.set(id, { name: running, atMs: now() - runningMs })
    const text = `${id} begins to ${running}${detail && `: ${detail}`}`
    this.#tell('clone.began', { text, member: id, reason: running, seen: true })
  }

  #noticeStream(member: FreshMember, { members }: ShardSnapshot): void {
    const { id } = member
    if (member.status.standby?.receiver !== 'streaming') return
    const source = members.find((other) => isPointedAt(member, other))?.id
    if (source === undefined || this.#streams.get(id) === source) return
    const first = !this.#streams.has(id)
    this.#streams.set(id, source)
    if (first) return // it did so before anybody looked
    const text = `${id} streams from ${source}`
    this.#tell('member.streams', { text, member: id, reason: source, seen: true })
  }

  #ended(id: string, known: { name: string; atMs: number }, error: string): void {
    this.#since.delete(id)
    const tookMs = now() - known.atMs
    const how = error === '' ? 'is done' : `ended: ${error}`
    const text = `the ${known.name} of ${id} ${how}, after ${(tookMs / 1000).toFixed(1)} s`
    this.#tell('clone.ended', { text, member: id, reason: error, tookMs, seen: true })
  }
}
