import { describe, expect, test } from 'bun:test'
import { startup } from '../../shared/pgwire/frontend.ts'
import { decodeStartupPacket, type StartupMessage } from '../../shared/pgwire/startup-packet.ts'
import { sessionSettings } from './startup-options.ts'

const settings = (parameters: Record<string, string>) =>
  sessionSettings(decodeStartupPacket(startup({ user: 'u', ...parameters })) as StartupMessage)
const options = (text: string) => settings({ options: text })

describe('startup options', () => {
  test('are sorted, by small names', () => {
    expect(settings({ TimeZone: 'UTC', DateStyle: 'ISO', application_name: 'x' })).toEqual([
      ['application_name', 'x'],
      ['datestyle', 'ISO'],
      ['timezone', 'UTC'],
    ])
  })

  test.each([
    ['-c a=1', [['a', '1']]],
    ['-ca=1', [['a', '1']]],
    ['--a=1', [['a', '1']]],
    ['  -c\ta-b=1  ', [['a_b', '1']]],
    ['-c a=1\\ 2\\\\', [['a', '1 2\\']]],
    ['-c a=', [['a', '']]],
    ['-c a=b=c', [['a', 'b=c']]],
    ['-c A=1 -c a=2', [['a', '2']]],
    ['-S 64', [['work_mem', '64']]],
    ['-d 3', [['log_min_messages', 'debug3']]],
    ['-e', [['datestyle', 'european']]],
    ['', []],
  ])('%j', (text, expected) => {
    expect(options(text)).toEqual(expected as [string, string][])
  })

  test('parameters of the packet win', () => {
    expect(settings({ options: '-c work_mem=1MB', work_mem: '2MB' })).toEqual([['work_mem', '2MB']])
  })

  test.each([
    ['-c a', '42601'],
    ['-c', '42601'],
    ['--a', '42601'],
    ['-x', '42601'],
    ['a', '42601'],
    ['-c user=postgres', '42704'],
    ['-c database=x', '42704'],
    ['--replication=true', '42704'],
    ['-c options=x', '42704'],
    ['-c _pq_.x=1', '42704'],
    ['-c synchronous_commit=off', '0A000'],
    ['-c synchronous_commit=local', '0A000'],
  ])('%j is refused with %s', (text, sqlstate) => {
    expect(() => options(text)).toThrow(expect.objectContaining({ sqlstate, severity: 'FATAL' }))
  })

  test('synchronous_commit may be as strong as the cluster or stronger', () => {
    for (const value of ['on', 'remote_apply']) {
      expect(options(`-c synchronous_commit=${value}`)).toHaveLength(1)
    }
  })
})
