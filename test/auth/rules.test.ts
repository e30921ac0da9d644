// Goal: a rules file lets in and keeps out whom PostgreSQL lets in and keeps out by the same file.
// Method: one text as pg_hba.conf of a real Postgres and as the gateway's rules file, the same
// roles and databases behind both, and every combination of user, database, transport, certificate
// and password: outcome, SQLSTATE and message are compared. `map` lines are the gateway's own.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GatewayServer } from '../../gateway/server.ts'
import { startHarness, type Harness } from '../gateway/harness.ts'
import { Frontend, StartupError, type Address, type LoginOptions } from '../support/frontend.ts'
import { startPostgres, testRunAs, type TestPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { Authority, type Pem } from './certificates.ts'

const ROLES = `
create role alice login password 'right';
create role bob login password 'right';
create role staff nologin;
create role clerks nologin in role staff;
create role carol login password 'right' in role clerks;
create role nologin password 'right';
create role expired login password 'right' valid until '2020-01-01';
create role nopassword login;
create role boss superuser login password 'right';
create role copier replication login password 'right'`
const DATABASES = ['shop', 'alice', 'staff', 'private', 'closed']
const SQL = [
  ...ROLES.split(';'),
  ...DATABASES.map((name) => `create database ${name}`),
  'revoke connect on database private from public',
  'alter database closed allow_connections false',
]

const TEXTS: Record<string, string> = {
  'methods, users and databases': `
# who                                              how
local   all                all                     trust
hostssl all                boss       127.0.0.1/32 cert
host    private            alice      all          reject
host    staff,"closed"     +staff     samehost     trust
host    sameuser           all        127.0.0.1 255.255.255.255  trust
host    samerole           carol      all          trust
host    all                bob        10.0.0.0/8   trust
hostnossl shop             bob        all          scram-sha-256
hostssl all                alice,expired all       scram-sha-256 clientcert=verify-full
hostssl all                "nologin"  all          trust
hostssl all                nopassword 127.0.0.0/8  cert
host    all                all        ::1/128      trust
host    shop               nopassword,expired,ghost,carol all scram-sha-256`,
  'no local line, and reject at the end': `
hostnossl all              all        127.0.0.1/32 scram-sha-256
hostssl   all              alice      all          scram-sha-256 clientcert=verify-ca
hostssl   shop             ghost      all          trust
hostssl   all              +clerks    all          cert
host      all              all        all          reject`,
}

const USERS = ['alice', 'bob', 'carol', 'nologin', 'expired', 'nopassword', 'boss', 'ghost']
const CERTIFICATES = ['alice', 'carol', 'copier', 'stranger', 'server', 'late'] as const

type Transport = { name: string; unix?: true; how?: 'request' | 'direct'; certificate?: string }
const TRANSPORTS: Transport[] = [
  { name: 'unix', unix: true },
  { name: 'plain' },
  { name: 'tls', how: 'request' },
  { name: 'direct tls', how: 'direct' },
  ...CERTIFICATES.map((certificate) => ({
    name: `tls as ${certificate}`,
    how: 'request' as const,
    certificate,
  })),
  { name: 'direct tls as alice', how: 'direct', certificate: 'alice' },
]

let dir: string
let authority: Authority
let harness: Harness
const certificates = new Map<string, Pem>()
let files: { cert: string; key: string; ca: string }

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mg-rules-'))
  chmodSync(dir, 0o755)
  authority = await Authority.make()
  const others = await Authority.make()
  const server = await authority.certify({ name: 'CN=localhost', usage: 'server' })
  certificates.set('alice', await authority.certify({ name: 'O=Shop, CN=alice' }))
  certificates.set('carol', await authority.certify({ name: 'CN=carol' }))
  certificates.set('copier', await authority.certify({ name: 'CN=copier' }))
  certificates.set('stranger', await others.certify({ name: 'CN=alice' }))
  certificates.set('server', await authority.certify({ name: 'CN=alice', usage: 'server' }))
  certificates.set('late', await authority.certify({ name: 'CN=alice', days: -1 }))
  const write = (name: string, text: string): string => {
    const file = join(dir, name)
    writeFileSync(file, text, { mode: 0o600 })
    const { drop, uid, gid } = testRunAs()
    if (drop) chownSync(file, uid, gid)
    return file
  }
  files = {
    cert: write('server.crt', server.cert),
    key: write('server.key', server.key),
    ca: write('ca.crt', authority.pem),
  }
  harness = await startHarness({ postgres: { sql: SQL } })
}, 60_000)

afterAll(async () => {
  await harness[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

/** A gateway with these rules. */
async function gatewayWith(text: string): Promise<GatewayServer> {
  const rulesFile = join(mkdtempSync(join(dir, 'r-')), 'rules')
  writeFileSync(rulesFile, text)
  const gateway = await harness.anotherGateway({
    rulesFile,
    socketDir: mkdtempSync(join(dir, 's-')),
    tlsCertFile: files.cert,
    tlsKeyFile: files.key,
    tlsClientCaFile: files.ca,
  })
  await until(() => gateway.router.leader !== undefined)
  return gateway
}

async function postgresWith(hba: string): Promise<TestPostgres> {
  const { cert, key, ca } = files
  const settings = { ssl: true, ssl_cert_file: cert, ssl_key_file: key, ssl_ca_file: ca }
  // A server whose own rules let nobody in by its socket is made through another line.
  return await startPostgres({ settings, sql: SQL, hba })
}

const tcp = (port: number): Address => ({ host: '127.0.0.1', port })

type Place = { tcp: Address; unix: Address }
const ofPostgres = ({ port, socketDir }: TestPostgres): Place => ({
  tcp: tcp(port),
  unix: { path: join(socketDir, `.s.PGSQL.${port}`) },
})
const ofGateway = ({ port, listeners }: GatewayServer): Place => ({
  tcp: tcp(port),
  unix: { path: listeners.socketPath ?? '' },
})

/** `in`, or why not. */
async function outcome(place: Place, via: Transport, options: LoginOptions): Promise<string> {
  const certificate = certificates.get(via.certificate ?? '')
  const tls = { ...(via.how && { how: via.how }), ...(certificate && { certificate }) }
  const address = via.unix === true ? place.unix : place.tcp
  try {
    const login = { ...options, ...(via.how === undefined ? {} : { tls }) }
    await using _ = await Frontend.connect(address, login)
    return 'in'
  } catch (error) {
    if (!(error instanceof StartupError)) return 'refused by TLS'
    const { severity, code, message } = error.fields
    return `${severity} ${code} ${message.replaceAll('rules_file', 'pg_hba.conf')}`
  }
}

const REPLICATION_TEXT = `
local   replication   all                trust
local   all           copier             trust
hostssl replication   copier  samehost   cert
hostssl replication   boss,+staff all    reject
host    replication   copier,alice,nologin  127.0.0.1/32  scram-sha-256
host    "replication" all     all        trust
host    shop          copier,carol all   scram-sha-256
host    all           boss    all        scram-sha-256`

test('the same file, for replication connections', async () => {
  const own = 'local all postgres trust\n'
  await using postgres = await postgresWith(`${own}${REPLICATION_TEXT}\n`)
  const gateway = await gatewayWith(`${own}${REPLICATION_TEXT}\n`)
  const differences: string[] = []
  const outcomes = new Set<string>()
  const users = ['copier', 'alice', 'carol', 'nologin', 'boss', 'ghost']
  const transports = TRANSPORTS.filter(({ certificate }) => certificate !== 'late')
  for (const via of transports) {
    for (const user of users) {
      for (const replication of ['true', 'database']) {
        for (const database of ['shop', 'replication']) {
          const login = { user, database, password: 'right', parameters: { replication } }
          const wanted = await outcome(ofPostgres(postgres), via, login)
          const ours = await outcome(ofGateway(gateway), via, login)
          outcomes.add(wanted)
          if (ours === wanted) continue
          const who = `${via.name} ${user} ${database} ${replication}`
          differences.push(`${who}: Postgres ${wanted}, gateway ${ours}`)
        }
      }
    }
  }
  expect(differences).toEqual([])
  expect(outcomes.size).toBeGreaterThan(10)
}, 60_000)

describe('the same file', () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    test(
      name,
      async () => {
        const own = 'local all postgres trust\n'
        await using postgres = await postgresWith(`${own}${text}\n`)
        const gateway = await gatewayWith(`${own}${text}\n`)
        const differences: string[] = []
        const counts = new Map<string, number>()
        const databases = [...DATABASES, 'nowhere']
        for (const via of TRANSPORTS) {
          for (const user of USERS) {
            const tries = databases.flatMap((database) =>
              ['right', 'wrong'].map((password) => ({ user, database, password })),
            )
            const both = (place: Place) =>
              Promise.all(tries.map((options) => outcome(place, via, options)))
            const [direct, ours] = [
              await both(ofPostgres(postgres)),
              await both(ofGateway(gateway)),
            ]
            tries.forEach(({ database, password }, at) => {
              const wanted = direct[at] ?? ''
              const group = wanted.slice(0, 11)
              counts.set(group, (counts.get(group) ?? 0) + 1)
              if (ours[at] === wanted) return
              const who = `${via.name} ${user} ${database} ${password}`
              differences.push(`${who}: Postgres ${wanted}, gateway ${ours[at]}`)
            })
          }
        }
        expect(differences).toEqual([])
        expect(counts.size).toBeGreaterThan(5) // the table is not all of one kind
      },
      60_000,
    )
  }
})
