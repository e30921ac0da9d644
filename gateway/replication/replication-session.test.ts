import { expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { copyData } from '../../shared/pgwire/backend.ts'
import { intern } from '../poolers/parameter-vector.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { WatchLists } from '../watch/watch-lists.ts'
import { ReplicationSession } from './replication-session.ts'

/** A session that is open on a leader, in front of a client whose bytes are kept. */
async function opened() {
  const written: Buffer[] = []
  const state = { closedStreams: 0, clientEnded: false, ended: 0 }
  const link = {
    watches: new WatchLists(),
    id: 'zone1_pooler1',
    connection: { congested: false, busy: 0, send: () => {} },
    health: { term: 1n, subterm: 0n },
    open: () => 7,
    close: () => state.closedStreams++,
  } as unknown as PoolerLink
  const session = new ReplicationSession({
    host: {
      log: nullLogger,
      leader: () => link,
      isMember: () => false,
      ended: () => state.ended++,
    },
    socket: {
      write: (bytes, start, length) => {
        written.push(Buffer.from(bytes.subarray(start, start + length)))
        return length
      },
      pause() {},
      resume() {},
      end: () => (state.clientEnded = true),
      terminate() {},
    },
    number: 1,
    cancelKey: Buffer.alloc(4),
    request: { user: 'u', database: '', options: [], client: '', session: 1 },
  })
  const opening = session.open()
  session.onOpened(intern('[]'))
  await opening
  session.begin(Buffer.alloc(0))
  const receive = (bytes: Buffer) => session.onData(0, 0, 0, 0, bytes, 0, bytes.length)
  const text = () => Buffer.concat(written).toString('latin1')
  return { session, link, state, receive, text }
}

test('another leader ends it with 57P01, its own does not', async () => {
  const { session, link, state, receive, text } = await opened()
  receive(copyData(Buffer.from('wal')))
  session.leaderIs(link)
  expect(state.clientEnded).toBe(false)
  session.leaderIs({ id: 'zone1_pooler2' } as PoolerLink)
  expect(text()).toContain('57P01')
  expect(state).toEqual({ closedStreams: 1, clientEnded: true, ended: 1 })
})

test('nothing is said in the middle of a message', async () => {
  const { session, state, receive, text } = await opened()
  const message = copyData(Buffer.from('wal'))
  receive(message.subarray(0, message.length - 1))
  session.onLinkLost()
  expect(text()).toBe(message.subarray(0, message.length - 1).toString('latin1'))
  expect(state.clientEnded).toBe(true)
})

test('who has said good-bye hears nothing of a walsender that went', async () => {
  const { session, text } = await opened()
  session.data(Buffer.from('X\0\0\0\x04'))
  session.onClosed(Buffer.alloc(0))
  expect(text()).toBe('')
  const { session: other, text: heard } = await opened()
  other.onClosed(Buffer.alloc(0))
  expect(heard()).toContain('57P01')
})
