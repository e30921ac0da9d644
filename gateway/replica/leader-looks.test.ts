import { describe, expect, test } from 'bun:test'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { LeaderLooks } from './leader-looks.ts'

/** What looks read of a link. */
type Fake = { frames: number; health: { lsn: bigint; lsnLook: number } }

function leader(): { link: PoolerLink; hear: (lsnLook: number, lsn: bigint) => void } {
  const fake: Fake = { frames: 0, health: { lsn: 0n, lsnLook: 0 } }
  const link = fake as unknown as PoolerLink
  return {
    link,
    hear(lsnLook, lsn) {
      fake.frames++
      fake.health = { lsn, lsnLook }
    },
  }
}

describe('a position that covers a batch', () => {
  test('is of the second look behind the first frame behind it', () => {
    const looks = new LeaderLooks()
    const { link, hear } = leader()
    hear(1, 10n)
    looks.add(link)
    const mark = { link, frames: link.frames }
    expect(looks.after(mark)).toBeUndefined()
    hear(2, 20n) // the look may have begun before the batch, and so may the one under way
    looks.add(link)
    hear(3, 30n)
    looks.add(link)
    expect(looks.after(mark)).toBeUndefined()
    hear(4, 40n)
    looks.add(link)
    hear(5, 50n)
    looks.add(link)
    expect(looks.after(mark)).toBe(40n)
    expect(looks.after({ link, frames: 0 })).toBe(30n)
  })

  test('is not known of frames that say the same look again', () => {
    const looks = new LeaderLooks()
    const { link, hear } = leader()
    for (let at = 0; at < 5; at++) {
      hear(7, 10n)
      looks.add(link)
    }
    expect(looks.after({ link, frames: 0 })).toBeUndefined()
  })

  test('is another leader’s when there is one, or its pooler began anew', () => {
    const looks = new LeaderLooks()
    const [one, other] = [leader(), leader()]
    for (let look = 1; look < 9; look++) {
      one.hear(look, 10n * BigInt(look))
      looks.add(one.link)
    }
    const mark = { link: one.link, frames: one.link.frames }
    for (const { hear, link } of [other, one]) {
      hear(1, 5n)
      looks.add(link)
      expect(looks.after(mark)).toBeUndefined()
      hear(2, 6n)
      looks.add(link)
      hear(3, 7n)
      looks.add(link)
      expect(looks.after({ link: one.link, frames: 0 })).toBe(7n)
    }
  })
})
