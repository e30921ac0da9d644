import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nullLogger } from '../../shared/log/logger.ts'
import { AuthRules, complaintAboutRules } from './auth-rules.ts'
import type { Newcomer } from './hba-rule.ts'
import { parseIp } from './ip-address.ts'

const WHO: Newcomer = {
  unix: false,
  tls: false,
  address: parseIp('127.0.0.1'),
  user: 'alice',
  database: 'shop',
  physical: false,
}

/** Rules of a file that holds `text`, and what writes another text and has it looked at. */
function rulesOf(text: string) {
  const dir = mkdtempSync(join(tmpdir(), 'mg-rules-'))
  const file = join(dir, 'rules')
  writeFileSync(file, text)
  let chosen: string | undefined = file
  const rules = new AuthRules({ file: () => chosen, log: nullLogger }, false)
  return {
    rules,
    file,
    method: () => rules.find(WHO, [])?.method,
    write: (changed: string) => writeFileSync(file, changed),
    choose: (path: string | undefined) => (chosen = path),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}

test('without a file everybody needs a password, also for replication', () => {
  const rules = new AuthRules({ file: () => undefined, log: nullLogger }, false)
  for (const who of [WHO, { ...WHO, unix: true, address: undefined }, { ...WHO, physical: true }]) {
    expect(rules.find(who, [])?.method).toBe('scram-sha-256')
    expect(rules.find(who, [])?.clientCert).toBe('no')
  }
})

test('with a CA for clients and no file, TLS needs a certificate besides', () => {
  const rules = new AuthRules({ file: () => undefined, log: nullLogger }, true)
  expect(rules.find({ ...WHO, tls: true }, [])?.clientCert).toBe('verify-ca')
  expect(rules.find(WHO, [])?.clientCert).toBe('no')
})

test('a changed file is taken when it was the same at two looks', () => {
  using file = rulesOf('host all all all trust')
  expect(file.method()).toBe('trust')
  file.write('host all all all reject')
  file.rules.look()
  expect(file.method()).toBe('trust')
  file.rules.look()
  expect(file.method()).toBe('reject')
})

test('a broken file, or one that is gone, leaves the rules as they were, and is told of', () => {
  using file = rulesOf('host all all all reject')
  file.write('host all all all trust\nhost all all all md5')
  for (let looks = 0; looks < 3; looks++) file.rules.look()
  expect(file.method()).toBe('reject')
  expect(file.rules.describe()['problems']).toEqual([
    'line 2: method "md5" is not supported: use scram-sha-256, and set md5 passwords anew',
  ])
  rmSync(file.file)
  for (let looks = 0; looks < 3; looks++) file.rules.look()
  expect(file.method()).toBe('reject')
  file.choose(undefined)
  file.rules.look()
  expect(file.method()).toBe('reject')
})

test('another path is taken at the next look', () => {
  using file = rulesOf('host all all all reject')
  using other = rulesOf('host all all all trust')
  file.choose(other.file)
  file.rules.look()
  expect(file.method()).toBe('trust')
})

test('a broken file stops a start, with its lines', () => {
  using file = rulesOf('local all all trust')
  file.write('host all all all\nlocal all all peer')
  const start = () => new AuthRules({ file: () => file.file, log: nullLogger }, false)
  expect(start).toThrow('line 1: the line ends before its method; line 2: method "peer"')
  expect(complaintAboutRules(file.file)).toContain('line 2: method "peer" is not supported')
  expect(complaintAboutRules('/nonexistent/rules')).toContain('cannot read it')
})
