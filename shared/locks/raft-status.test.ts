import { expect, test } from 'bun:test'
import type { StoreMemberStatus } from '../topology/store-status.ts'
import { canTransition, raftStatus } from './raft-status.ts'

const member = (id: string, looks: Partial<StoreMemberStatus>): StoreMemberStatus => ({
  id,
  name: id,
  address: `${id}:2379`,
  role: 'follower',
  term: 4n,
  leaderId: 'a',
  commitIndex: 100n,
  appliedIndex: 100n,
  alarms: [],
  ...looks,
})
const away = (id: string): StoreMemberStatus => {
  const { address, name } = member(id, {})
  return { id, name, address, role: 'unknown', alarms: [], problem: 'nothing listens there' }
}

test('the leader’s view, with how far each follower is behind', () => {
  const status = raftStatus([
    member('b', { appliedIndex: 90n }),
    member('a', { role: 'leader' }),
    away('c'),
  ])
  expect(status).toMatchObject({ id: 'a', role: 'leader', term: 4n, hasQuorum: true })
  expect(status.replication.get('b')).toMatchObject({ replicationLag: 10n, isActive: true })
  expect(status.replication.get('c')).toEqual({
    isActive: false,
    lastError: 'nothing listens there',
  })
})

test('without a majority that agrees on a leader there is no quorum', () => {
  expect(raftStatus([member('a', { role: 'leader' }), away('b'), away('c')]).hasQuorum).toBe(false)
  const { leaderId: _, ...lost } = member('a', { role: 'unknown' })
  expect(raftStatus([lost, away('b'), away('c')])).toMatchObject({ hasQuorum: false, id: 'a' })
  expect(raftStatus([away('a')])).toMatchObject({ id: '', role: 'unknown', hasQuorum: false })
})

test('of two that call themselves leader the later term counts', () => {
  const status = raftStatus([
    member('a', { role: 'leader', term: 3n }),
    member('b', { role: 'leader', leaderId: 'b' }),
    member('c', { leaderId: 'b' }),
  ])
  expect(status).toMatchObject({ id: 'b', term: 4n, hasQuorum: true })
})

test('a file is its own leader, and what it does not have is absent', () => {
  const status = raftStatus([
    { id: 'embedded', name: 'embedded', address: '/x', role: 'single', alarms: [] },
  ])
  expect(status).toEqual({
    id: 'embedded',
    role: 'leader',
    hasQuorum: true,
    replication: new Map(),
  })
})

test('the steps that Raft allows', () => {
  expect(canTransition('follower', 'candidate')).toBe(true)
  expect(canTransition('follower', 'leader')).toBe(false)
  expect(canTransition('candidate', 'leader')).toBe(true)
  expect(canTransition('leader', 'candidate')).toBe(false)
})
