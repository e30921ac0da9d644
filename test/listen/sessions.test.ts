// One script, straight at Postgres and through the gateway with a pool of two backends: LISTEN in
// autocommit, who hears what, when, in which order, and with whose process id.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { startHarness, VIAS, type Harness } from '../gateway/harness.ts'
import type { Frontend } from '../support/frontend.ts'

let harness: Harness

beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
})
afterAll(() => harness[Symbol.asyncDispose]())

/** The next `count` notifications, as `channel payload`. */
async function hear(frontend: Frontend, count: number): Promise<string[]> {
  const heard: string[] = []
  while (heard.length < count) {
    const message = await frontend.message()
    if (message.name === 'NotificationResponse') heard.push(`${message.channel} ${message.payload}`)
  }
  return heard
}

describe.each(VIAS)('%s', (via) => {
  const connect = () => harness.connect(via)

  test('ten sessions that listen hear all in order, and hold no backend', async () => {
    const listeners = await Promise.all(Array.from({ length: 10 }, connect))
    for (const listener of listeners) {
      expect(await listener.query('LISTEN "Many Ears"')).toEqual([
        'CommandComplete LISTEN',
        'ReadyForQuery idle',
      ])
    }
    await using notifier = await connect()
    for (let at = 0; at < 20; at++) await notifier.query(`notify "Many Ears", '${at}'`)
    const expected = Array.from({ length: 20 }, (_, at) => `Many Ears ${at}`)
    for (const listener of listeners) expect(await hear(listener, 20)).toEqual(expected)
    if (via === 'gateway') expect(harness.pooler.server.executor.pools.pinnedTotal).toBe(0)
    for (const listener of listeners) await listener[Symbol.asyncDispose]()
  })

  test('its own come before ReadyForQuery, under the process id of its login', async () => {
    await using listener = await connect()
    await listener.query('listen own')
    for (let round = 0; round < 20; round++) {
      listener.send(query(`select pg_notify('own', '${round}')`))
      const pids: number[] = []
      let message = await listener.message()
      for (; message.name !== 'ReadyForQuery'; message = await listener.message()) {
        if (message.name === 'NotificationResponse') pids.push(message.processId)
      }
      expect(pids).toEqual([listener.processId])
    }
  })

  test('another’s comes under that one’s process id', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen theirs')
    await notifier.query('notify theirs')
    const message = await listener.message()
    expect(message).toMatchObject({ processId: notifier.processId, channel: 'theirs' })
  })

  test('another’s never comes under the listener’s own, though it takes the same backend', async () => {
    await using listener = await connect()
    const notifiers = await Promise.all(Array.from({ length: 4 }, connect))
    await listener.query('listen crowd')
    const text = `select count(pg_notify('crowd', n || repeat('x', 2000)))
      from generate_series(1, 50) n`
    let left = notifiers.length
    for (const notifier of notifiers) {
      void (async () => {
        for (let round = 0; round < 10; round++) await notifier.query(text)
        left--
      })()
    }
    const pids = new Set<number>()
    while (left > 0) {
      listener.send(query('select 1'))
      let message = await listener.message()
      for (; message.name !== 'ReadyForQuery'; message = await listener.message()) {
        if (message.name === 'NotificationResponse') pids.add(message.processId)
      }
    }
    expect(pids).not.toContain(listener.processId)
    for (const notifier of notifiers) await notifier[Symbol.asyncDispose]()
  })

  test('nothing comes inside a transaction, all of it with its end', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen block')
    for (const end of ['commit', 'rollback']) {
      await listener.query('begin')
      await notifier.query(`notify block, 'one'`)
      await notifier.query(`notify block, 'two'`)
      expect(await listener.query('select 1')).toHaveLength(4)
      expect(await listener.query(end)).toEqual([
        `CommandComplete ${end.toUpperCase()}`,
        'NotificationResponse block one',
        'NotificationResponse block two',
        'ReadyForQuery idle',
      ])
    }
  })

  test('an unnamed LISTEN of an earlier batch, by a session that has a backend', async () => {
    await using listener = await connect()
    await listener.query('select pg_advisory_lock(7)')
    listener.send(parse('listen earlier'), sync())
    await listener.untilReadyForQuery()
    for (let round = 0; round < 2; round++) {
      listener.send(bind(), execute(), sync())
      expect(await listener.untilReadyForQuery()).toEqual([
        'BindComplete',
        'CommandComplete LISTEN',
        'ReadyForQuery idle',
      ])
    }
    await using notifier = await connect()
    await notifier.query('notify earlier')
    expect(await hear(listener, 1)).toEqual(['earlier '])
  })

  test('any batch hears what was committed before it', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen poll')
    for (let round = 0; round < 30; round++) {
      await notifier.query(`notify poll, '${round}'`)
      const lines = await listener.query('select 1')
      expect(lines.filter((line) => line.startsWith('Notif'))).toEqual([
        `NotificationResponse poll ${round}`,
      ])
    }
    await notifier.query(`notify poll, 'sync'`)
    listener.send(sync())
    expect(await listener.untilReadyForQuery()).toEqual([
      'NotificationResponse poll sync',
      'ReadyForQuery idle',
    ])
  })

  test('what was committed before LISTEN is not heard, though others listen', async () => {
    await using other = await connect()
    await using notifier = await connect()
    await other.query('listen late')
    for (let round = 0; round < 20; round++) {
      await using listener = await connect()
      await notifier.query(`notify late, 'before ${round}'`)
      await listener.query('listen late')
      await notifier.query(`notify late, 'after ${round}'`)
      expect(await hear(listener, 1)).toEqual([`late after ${round}`])
    }
    expect(await hear(other, 40)).toHaveLength(40)
  })

  test('UNLISTEN, UNLISTEN * and DISCARD ALL end it for this session alone', async () => {
    await using other = await connect()
    await using listener = await connect()
    await using notifier = await connect()
    await other.query('listen a')
    for (const end of [
      'unlisten a',
      'unlisten *',
      'discard all',
      'select 1; unlisten *; reset all',
    ]) {
      await listener.query('listen a')
      await listener.query('listen b')
      await listener.query(end)
      await notifier.query(`notify a, '${end}'`)
      await notifier.query(`notify b`)
      const heard = (await listener.query('select 1')).filter((line) => line.startsWith('Notif'))
      expect(heard).toEqual(end === 'unlisten a' ? ['NotificationResponse b'] : [])
      expect(await hear(other, 1)).toEqual([`a ${end}`])
      await listener.query('unlisten b')
    }
  })

  test('an UNLISTEN that fails with its batch changes nothing', async () => {
    await using listener = await connect()
    await listener.query('listen kept')
    await listener.query('unlisten kept; select 1/0')
    expect(await listener.query('notify kept')).toContain('NotificationResponse kept')
  })

  test.each([
    ['Folded_Name', 'folded_name'],
    ['"Quoted ""Name"""', 'Quoted "Name"'],
    ['Ünïcode', 'Ünïcode'],
    ['"ÄÖ ☃ 𝄞"', 'ÄÖ ☃ 𝄞'],
    ['U&"\\00e4\\+01D11E"', 'ä𝄞'],
    ['a$1', 'a$1'],
    [`"${'x'.repeat(62)}ä"`, 'x'.repeat(62)],
    [`"${'y'.repeat(70)}"`, 'y'.repeat(63)],
    ['/* c */ "spaced"  ; -- end', 'spaced'],
  ])('channel %s', async (name, channel) => {
    await using listener = await connect()
    await using notifier = await connect()
    expect(await listener.query(`listen ${name}`)).toContain('CommandComplete LISTEN')
    await notifier.query(`select pg_notify('${channel.replaceAll("'", "''")}', 'é')`)
    expect(await hear(listener, 1)).toEqual([`${channel} é`])
  })

  test.each(['listen ""', 'listen', 'listen a b', 'listen select', "listen 'a'", 'listen a.b'])(
    '%s fails as Postgres says',
    async (text) => {
      await using listener = await connect()
      const lines = await listener.query(text)
      expect(lines[0]).toMatch(/^ErrorResponse/)
      expect(lines.at(-1)).toBe('ReadyForQuery idle')
      expect(listener.errors[0]?.code).toBe('42601')
    },
  )

  test('a payload of 7,999 bytes comes whole, a longer one fails', async () => {
    await using listener = await connect()
    await listener.query('listen large')
    const payload = 'p'.repeat(7999)
    const lines = await listener.query(`notify large, '${payload}'`)
    expect(lines).toContain(`NotificationResponse large ${payload}`)
    expect(await listener.query(`notify large, '${payload}p'`)).toHaveLength(2)
  })

  test('by extended messages, unnamed and named', async () => {
    await using listener = await connect()
    for (const name of ['', 'by_name']) {
      listener.send(parse(`listen extended_${name}`, { name }), bind({ statement: name }))
      listener.send(execute(), sync())
      expect(await listener.untilReadyForQuery()).toEqual([
        'ParseComplete',
        'BindComplete',
        'CommandComplete LISTEN',
        'ReadyForQuery idle',
      ])
      expect(await listener.query(`notify extended_${name}`)).toContain(
        `NotificationResponse extended_${name}`,
      )
    }
    listener.send(bind({ statement: 'by_name' }), execute(), sync())
    expect(await listener.untilReadyForQuery()).toHaveLength(3)
    if (via === 'gateway') expect(harness.pooler.server.executor.pools.pinnedTotal).toBe(0)
  })

  test('duplicates of one transaction are one', async () => {
    await using listener = await connect()
    await listener.query('listen twice')
    const lines = await listener.query("notify twice, 'a'; notify twice, 'a'; notify twice, 'b'")
    expect(lines.filter((line) => line.startsWith('Notif'))).toEqual([
      'NotificationResponse twice a',
      'NotificationResponse twice b',
    ])
  })

  test('a channel that is listened to in both ways is heard once', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen both_ways')
    for (const text of ['begin', 'listen both_ways', 'commit']) await listener.query(text)
    await notifier.query(`notify both_ways, '1'`)
    const lines = await listener.query('select 1')
    await notifier.query(`notify both_ways, '2'`)
    lines.push(...(await listener.query('select 1')))
    expect(lines.filter((line) => line.startsWith('Notif'))).toEqual([
      'NotificationResponse both_ways 1',
      'NotificationResponse both_ways 2',
    ])
  })

  test('LISTEN in a transaction beside one outside', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen outside')
    await listener.query('begin; listen inside; listen outside; commit')
    await notifier.query(`notify outside, '1'`)
    await notifier.query(`notify inside, '2'`)
    const lines = await listener.query('select 1')
    expect(lines.filter((line) => line.startsWith('Notif')).toSorted()).toEqual([
      'NotificationResponse inside 2',
      'NotificationResponse outside 1',
    ])
  })
})

describe.each(VIAS)('channels in SQL, %s', (via) => {
  const connect = () => harness.connect(via)

  test('pg_listening_channels() shows them, and all that is notified is heard once', async () => {
    await using listener = await connect()
    await using notifier = await connect()
    await listener.query('listen "c 1"')
    await listener.query('listen c2')
    const notified = (async () => {
      for (let at = 0; at < 200; at++) await notifier.query(`notify "c 1", '${at}'`)
    })()
    const lines = await listener.query('select pg_listening_channels() order by 1')
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual([
      'DataRow c 1',
      'DataRow c2',
    ])
    await notified
    await notifier.query('notify c2')
    const all = [...lines, ...(await listener.until('NotificationResponse c2'))]
    const heard = all.filter((line) => line.startsWith('Notif'))
    expect(heard.slice(0, -1)).toEqual(
      Array.from({ length: 200 }, (_, at) => `NotificationResponse c 1 ${at}`),
    )
    await listener.query('unlisten *')
    expect(await listener.query('select pg_listening_channels()')).toHaveLength(3)
  })

  test('UNLISTEN in a transaction of one text', async () => {
    await using listener = await connect()
    await listener.query('listen u1')
    await listener.query('listen u2')
    await listener.query('begin; unlisten u1; rollback')
    expect(await listener.query('notify u1')).toContain('NotificationResponse u1')
    await listener.query('begin; unlisten u1; commit')
    const lines = await listener.query('notify u1; notify u2')
    expect(lines.filter((line) => line.startsWith('Notif'))).toEqual(['NotificationResponse u2'])
  })
})

const run = (text: string): Buffer[] => [parse(text), bind(), execute()]

describe('in an open transaction', () => {
  const REFUSED = ['ErrorResponse ERROR 0A000', 'ReadyForQuery failed']
  const connect = () => harness.connect('gateway')

  test.each(['unlisten t1', 'unlisten *', 'select pg_listening_channels()'])(
    '%s is an error, and the session listens on',
    async (text) => {
      await using listener = await connect()
      await listener.query('listen t1')
      for (const message of [query(text), Buffer.concat([...run(text), sync()])]) {
        await listener.query('begin')
        listener.send(message)
        const lines = await listener.untilReadyForQuery()
        expect(lines.slice(-2)).toEqual(REFUSED)
        expect(listener.errors.at(-1)?.message).toContain('in a transaction')
        expect((await listener.query(text))[0]).toBe('ErrorResponse ERROR 25P02')
        await listener.query('rollback')
        expect(await listener.query('notify t1')).toContain('NotificationResponse t1')
      }
    },
  )

  test('DISCARD ALL fails as it does for everybody', async () => {
    await using listener = await connect()
    await listener.query('listen t3')
    for (const message of [query('discard all'), Buffer.concat([...run('discard all'), sync()])]) {
      await listener.query('begin')
      listener.send(message)
      const failed = ['ErrorResponse ERROR 25001', 'ReadyForQuery failed']
      expect((await listener.untilReadyForQuery()).slice(-2)).toEqual(failed)
      await listener.query('rollback')
      expect(await listener.query('notify t3')).toContain('NotificationResponse t3')
    }
  })

  test('a statement that was prepared before is refused, too', async () => {
    await using listener = await connect()
    await listener.query('listen t2')
    listener.send(parse('unlisten t2', { name: 'u' }), sync())
    await listener.untilReadyForQuery()
    await listener.query('begin')
    listener.send(bind({ statement: 'u' }), execute(), sync())
    expect(await listener.untilReadyForQuery()).toEqual(REFUSED)
    await listener.query('rollback')
    listener.send(bind({ statement: 'u' }), execute(), sync())
    await listener.untilReadyForQuery()
    expect(await listener.query('notify t2')).not.toContain('NotificationResponse t2')
  })

  test('behind a part of the same pipeline it is an error', async () => {
    await using listener = await connect()
    await listener.query('listen t3')
    listener.send(...run('begin'), flush())
    await listener.until('CommandComplete')
    listener.send(...run('unlisten t3'), sync())
    expect((await listener.untilReadyForQuery()).slice(-2)).toEqual(REFUSED)
    await listener.query('rollback')
    expect(await listener.query('notify t3')).toContain('NotificationResponse t3')
  })
})
