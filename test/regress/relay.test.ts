// Goal: what the relay tells of a session is what happened, and the server hears every byte.
// Method: a server of a few lines that answers each message with ReadyForQuery.
import { expect, test } from 'bun:test'
import { connect, createServer, type Socket } from 'node:net'
import { authenticationOk, readyForQuery } from '../../shared/pgwire/backend.ts'
import { query, startup, terminate } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { until } from '../support/until.ts'
import { Relay, type PoolFigures } from './relay.ts'

const FIGURES: PoolFigures = { released: 2, handOvers: 1, pins: ['temp objects'] }

/** Answers the startup packet and each statement; `begin` leaves a transaction open. */
async function fakeServer(heard: string[]): Promise<{ port: number; close(): void }> {
  const server = createServer((socket) => {
    let started = false
    socket.on('data', (chunk: Buffer) => {
      heard.push(chunk.toString('latin1'))
      const inTransaction = chunk.includes('begin')
      const status = inTransaction ? TransactionStatus.InTransaction : TransactionStatus.Idle
      if (chunk[0] === 'X'.charCodeAt(0)) socket.end()
      else
        socket.write(
          Buffer.concat([...(started ? [] : [authenticationOk()]), readyForQuery(status)]),
        )
      started = true
    })
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  return { port: address.port, close: () => server.close() }
}

async function answered(socket: Socket, part: Uint8Array): Promise<void> {
  const answer = new Promise((resolve) => socket.once('data', resolve))
  socket.write(part)
  await answer
}

test('a session is told by its own name, and asked about before its Terminate passes', async () => {
  const heard: string[] = []
  const server = await fakeServer(heard)
  let heardWhenAsked = -1
  {
    await using relay = await Relay.open({ host: '127.0.0.1', port: server.port }, async () => {
      heardWhenAsked = heard.length
      return FIGURES
    })
    const client = connect(relay.port, '127.0.0.1')
    await answered(client, startup({ user: 'u', database: 'd', application_name: 'pg_regress/x' }))
    for (const text of ['select 1', 'begin', 'end']) await answered(client, query(text))
    client.write(terminate())
    await until(() => heard.at(-1)?.startsWith('X'))
    expect(relay.sessions).toEqual([
      { name: 'pg_regress/x', batches: 3, idle: 2, pool: FIGURES, hung: false },
    ])
    client.destroy()
  }
  server.close()
  expect(heardWhenAsked).toBe(4)
  expect(heard[0]).toContain('application_name\0pg_regress\0')
})
