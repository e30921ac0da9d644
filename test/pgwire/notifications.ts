import { expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Server } from '../support/servers.ts'

/** LISTEN and NOTIFY: whom a notification reaches, when, and in what order. */
export function notificationTests(server: () => Server): void {
  test('its own notification comes before ReadyForQuery', async () => {
    await using frontend = await server().connect()
    await frontend.query('listen notify_own')
    const lines = await frontend.query("notify notify_own, 'a'; select 1")
    expect(lines).toEqual([
      'CommandComplete NOTIFY',
      'RowDescription ?column?',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'NotificationResponse notify_own a',
      'ReadyForQuery idle',
    ])
  })

  test('its own notification names the process id of BackendKeyData', async () => {
    await using frontend = await server().connect()
    await frontend.query('listen notify_pid')
    frontend.send(query('notify notify_pid'))
    let message = await frontend.message()
    while (message.name !== 'NotificationResponse') message = await frontend.message()
    expect(message.processId).toBe(frontend.processId)
  })

  test('an idle listener hears another session, in order', async () => {
    await using listener = await server().connect()
    await using notifier = await server().connect()
    await listener.query('listen notify_other')
    for (const text of ['1', '2', '3']) await notifier.query(`notify notify_other, '${text}'`)
    expect(await listener.until('NotificationResponse notify_other 3')).toEqual([
      'NotificationResponse notify_other 1',
      'NotificationResponse notify_other 2',
      'NotificationResponse notify_other 3',
    ])
  })

  test('nothing is delivered inside a transaction, and all of it after', async () => {
    await using listener = await server().connect()
    await using notifier = await server().connect()
    await listener.query('listen notify_block')
    await listener.query('begin')
    await notifier.query("notify notify_block, 'late'")
    expect((await listener.query('select 1')).length).toBe(4)
    expect(await listener.query('commit')).toEqual([
      'CommandComplete COMMIT',
      'NotificationResponse notify_block late',
      'ReadyForQuery idle',
    ])
  })

  test('a notification of a rolled back transaction is never sent', async () => {
    await using listener = await server().connect()
    await using notifier = await server().connect()
    await listener.query('listen notify_rolled')
    await notifier.query("begin; notify notify_rolled, 'never'; rollback")
    await notifier.query("notify notify_rolled, 'first'")
    expect(await listener.until('Notification')).toEqual([
      'NotificationResponse notify_rolled first',
    ])
  })

  test('LISTEN in a transaction holds from its COMMIT on', async () => {
    await using listener = await server().connect()
    await using notifier = await server().connect()
    await listener.query('begin; listen notify_begun')
    await listener.query('commit')
    await notifier.query("notify notify_begun, 'yes'")
    expect(await listener.until('Notification')).toEqual(['NotificationResponse notify_begun yes'])
    await listener.query('begin; listen notify_undone; rollback')
    await notifier.query("notify notify_undone, 'no'; notify notify_begun, 'again'")
    expect(await listener.until('Notification')).toEqual([
      'NotificationResponse notify_begun again',
    ])
  })

  test('UNLISTEN ends it', async () => {
    await using listener = await server().connect()
    await using notifier = await server().connect()
    await listener.query('listen notify_a')
    await listener.query('listen notify_b')
    await listener.query('unlisten notify_a')
    await notifier.query("notify notify_a, 'no'; notify notify_b, 'yes'")
    expect(await listener.until('Notification')).toEqual(['NotificationResponse notify_b yes'])
    await listener.query('unlisten *')
    expect((await listener.query("notify notify_b, 'no'")).length).toBe(2)
  })

  test('LISTEN and NOTIFY by extended messages', async () => {
    await using listener = await server().connect()
    listener.send(parse('listen notify_extended'), bind(), execute(), sync())
    await listener.untilReadyForQuery()
    listener.send(parse("select pg_notify('notify_extended', $1)"))
    listener.send(bind({ values: ['ä'] }), execute(), sync())
    expect((await listener.untilReadyForQuery()).slice(-2)).toEqual([
      'NotificationResponse notify_extended ä',
      'ReadyForQuery idle',
    ])
  })

  test('the same payload twice in a transaction comes once', async () => {
    await using listener = await server().connect()
    await listener.query('listen notify_twice')
    const lines = await listener.query(
      "begin; notify notify_twice, 'a'; notify notify_twice, 'a'; notify notify_twice, 'b'; commit",
    )
    expect(lines.filter((line) => line.startsWith('Notification'))).toEqual([
      'NotificationResponse notify_twice a',
      'NotificationResponse notify_twice b',
    ])
  })

  test('who does not listen hears nothing, also after a listener ended', async () => {
    const listener = await server().connect()
    await listener.query('listen notify_gone')
    await listener[Symbol.asyncDispose]()
    await using other = await server().connect()
    const sessions = await Promise.all(Array.from({ length: 20 }, () => server().connect()))
    await other.query("notify notify_gone, 'x'")
    for (const session of sessions) {
      expect((await session.query('select 1')).length).toBe(4)
      await session[Symbol.asyncDispose]()
    }
  })

  test('pg_listening_channels tells the session’s channels', async () => {
    await using listener = await server().connect()
    await listener.query('listen notify_channels')
    expect(await listener.row('select pg_listening_channels()')).toEqual(['notify_channels'])
  })
}
