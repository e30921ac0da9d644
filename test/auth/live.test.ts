// Goal: a running gateway takes another rules file, refuses a broken one, and says who came in by
// which line; maps and certificates work on a real process, too.
// Method: a cluster whose gateway has a rules file and asks for certificates of clients.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { multigres, startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type LoginOptions } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { Authority } from './certificates.ts'
import { refused } from './refused.ts'

/** The first line is for `cluster start` itself, which asks its gateways whether they serve. */
const EVERYBODY = 'local all postgres scram-sha-256\nhost all all all scram-sha-256\n'
let dir: string
let rules: string
let cluster: Cluster
let authority: Authority

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mg-live-'))
  chmodSync(dir, 0o755)
  rules = join(dir, 'rules')
  writeFileSync(rules, EVERYBODY)
  authority = await Authority.make()
  const ca = join(dir, 'ca.crt')
  writeFileSync(ca, authority.pem)
  const set = [`gateway.rules_file=${rules}`, `gateway.tls_client_ca_file=${ca}`]
  cluster = await startCluster({ poolers: 1, set })
}, 120_000)

afterAll(async () => {
  await cluster[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

const connect = (options: LoginOptions = {}) =>
  Frontend.connect({ host: '127.0.0.1', port: Number(new URL(cluster.url).port) }, options)

const get = async (path: string): Promise<unknown> =>
  await (await fetch(`${cluster.gateway.http}${path}`)).json()

async function post(body: object): Promise<{ status: number; text: string }> {
  const token = readFileSync(join(cluster.dir, 'secrets', 'token'), 'utf8').trim()
  const answer = await fetch(`${cluster.gateway.http}/config`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  })
  return { status: answer.status, text: await answer.text() }
}

type Hba = {
  problems: string[]
  rules: { line: number; logins: number }[]
  sessions: { line: number }[]
}

test('what is written into the file holds for who comes next', async () => {
  await using _before = await connect()
  writeFileSync(rules, `# nobody by that name\nhost all postgres all reject\n${EVERYBODY}`)
  await until(async () => (await refused(connect())) !== 'in', 10_000)
  expect(await refused(connect())).toContain('28000 rules_file rejects connection for host')
  writeFileSync(rules, EVERYBODY)
  await until(async () => (await refused(connect())) === 'in', 10_000)
  const { rules: lines, sessions } = (await get('/debug/hba')) as Hba
  expect(lines[1]?.logins).toBeGreaterThan(0)
  expect(sessions.map(({ line }) => line)).toEqual([2])
})

test('a broken file changes nothing, and is told of with its lines', async () => {
  writeFileSync(rules, 'host all all all trust\nhost all all all md5\nhost all all\n')
  const problems = async () => ((await get('/debug/hba')) as Hba).problems
  await until(async () => (await problems()).length > 0, 10_000)
  expect((await problems()).map((text) => text.slice(0, 7))).toEqual(['line 2:', 'line 3:'])
  expect(await refused(connect({ password: 'wrong' }))).toContain('28P01')
  expect(await refused(connect())).toBe('in')
  // Other settings can be changed meanwhile, and the path stays.
  expect((await post({ clients_max: '500' })).status).toBe(200)
  const config = (await get('/config')) as Record<string, { value: unknown }>
  expect(config['rules_file']?.value).toBe(rules)
  writeFileSync(rules, EVERYBODY)
  await until(async () => (await problems()).length === 0, 10_000)
})

test('another file is named by POST /config, and a broken one refused there', async () => {
  const broken = join(dir, 'broken')
  writeFileSync(broken, 'local all all peer\n')
  const answer = await post({ rules_file: broken })
  expect(answer.status).toBe(400)
  expect(answer.text).toContain('line 1: method \\"peer\\" is not supported')
  const open = join(dir, 'open')
  writeFileSync(open, 'host all all samehost trust\n')
  expect((await post({ rules_file: open })).status).toBe(200)
  const withoutPassword = () => refused(connect({ password: 'wrong' }))
  await until(async () => (await withoutPassword()) === 'in', 10_000)
  expect((await post({ rules_file: rules })).status).toBe(200)
  await until(async () => (await withoutPassword()) !== 'in', 10_000)
})

test('a certificate’s name stands for a role by a map, over TLS of both kinds', async () => {
  writeFileSync(
    rules,
    `map people "Jo Boss" postgres\nhostssl all all all cert map=people\n${EVERYBODY}`,
  )
  const boss = await authority.certify({ name: 'O=Shop, CN=Jo Boss' })
  const other = await authority.certify({ name: 'CN=postgres' })
  for (const how of ['request', 'direct'] as const) {
    const by = (certificate?: typeof boss) =>
      refused(connect({ password: 'wrong', tls: { how, ...(certificate && { certificate }) } }))
    await until(async () => (await by(boss)) === 'in', 10_000)
    expect(await by(other)).toContain('28000 certificate authentication failed')
    expect(await by()).toContain('28000 connection requires a valid client certificate')
  }
  expect(await refused(connect())).toBe('in') // by the line for everybody, without TLS
})

test('a start with a broken file ends with exit code 2 and its lines', async () => {
  const broken = join(dir, 'broken')
  writeFileSync(broken, 'host all all all ldap\n')
  const at = join(dir, 'never')
  const set = `--set=gateway.rules_file=${broken}`
  const { exitCode, stderr } = await multigres(['cluster', 'start', '--dir', at, '--port=0', set])
  expect(stderr).toContain('line 1: method "ldap" is not supported')
  expect(exitCode).not.toBe(0)
}, 60_000)
