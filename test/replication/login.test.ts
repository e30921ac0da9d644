// Goal: our client and Postgres agree on every password, key and certificate.
// Method: real servers whose pg_hba.conf asks for one method each.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import type { ReplicationOptions } from '../../shared/replication/replication-connection.ts'
import { WireStream } from '../../shared/replication/wire-stream.ts'
import { clientKeyOf, saltedPassword } from '../../shared/scram/keys.ts'
import { formatVerifier, makeVerifier, parseVerifier } from '../../shared/scram/verifier.ts'
import { failureOf } from '../support/failure.ts'
import { startPostgres, testRunAs, type TestPostgres } from '../support/postgres.ts'

const START_MS = 120_000

const connect = (server: TestPostgres, options: Omit<ReplicationOptions, 'address'>) =>
  ReplicationConnection.connect({
    address: { host: '127.0.0.1', port: server.port },
    timeoutMs: 10_000,
    ...options,
  })

/** Logs in and asks something. */
async function works(server: TestPostgres, options: Omit<ReplicationOptions, 'address'>) {
  using connection = await connect(server, options)
  return (await connection.identifySystem()).timeline === 1
}

const role = (name: string, password: string) =>
  `create role "${name}" login replication password '${password.replaceAll("'", "''")}'`

describe('passwords', () => {
  let server: TestPostgres
  beforeAll(async () => {
    server = await startPostgres({
      hba: `local all all trust
host replication clear all password
host replication md all md5
host replication all all scram-sha-256
`,
      sql: [
        role('alice', 'secret'),
        role('clear', 'secret'),
        "set password_encryption = 'md5'; " + role('md', 'secret'),
      ],
    })
  }, START_MS)
  afterAll(() => server?.stop('immediate'))

  test('the right one is taken, the wrong one and the unknown role are refused alike', async () => {
    expect(await works(server, { user: 'alice', secret: { password: 'secret' } })).toBe(true)
    for (const user of ['alice', 'nobody']) {
      const failure = failureOf(connect(server, { user, secret: { password: 'Secret' } }))
      expect(await failure).toMatchObject({ name: 'ServerError', sqlstate: '28P01' })
    }
  })

  test('the keys of the verifier log in without it', async () => {
    const [row] = await server.query("select rolpassword from pg_authid where rolname = 'alice'")
    const { salt, iterations, serverKey } = parseVerifier(String(row![0]))!
    const clientKey = clientKeyOf(saltedPassword('secret', salt, iterations))
    expect(await works(server, { user: 'alice', secret: { clientKey } })).toBe(true)
    expect(await works(server, { user: 'alice', secret: { clientKey, serverKey } })).toBe(true)
    const other = Buffer.alloc(32)
    const wrong = failureOf(connect(server, { user: 'alice', secret: { clientKey: other } }))
    expect(await wrong).toMatchObject({ sqlstate: '28P01' })
    const lies = { clientKey, serverKey: other }
    const lied = failureOf(connect(server, { user: 'alice', secret: lies }))
    expect((await lied).message).toContain('does not know the password')
  })

  // Each is prepared by Postgres (CREATE ROLE) and by us (login), and the other way round.
  test.each([
    ' xIX\u00a0',
    '\u2168\u00adx',
    '\u00aa',
    '\u0627\u00b2\u0627',
    '\u0627\u2168\u0627',
    '\u{1f600}\u2168',
    '\u00ad',
    'e\u0301\u1e9b\u0323',
    '\u00e4\u0007\u2168',
    '\u0221\u2168',
    '\u1680a\u2002b\u200b',
    "it's, =n,r=\\ ok",
  ])('%j is prepared alike', async (password) => {
    await server.query('drop role if exists theirs; drop role if exists ours')
    await server.query(role('theirs', password))
    await server.query(role('ours', formatVerifier(makeVerifier(password))))
    expect(await works(server, { user: 'theirs', secret: { password } })).toBe(true)
    // Theirs is prepared as ours is: the same salt gives the same keys.
    const [row] = await server.query("select rolpassword from pg_authid where rolname = 'theirs'")
    const theirs = parseVerifier(String(row![0]))!
    expect(makeVerifier(password, theirs)).toEqual(theirs)
    expect(await works(server, { user: 'ours', secret: { password } })).toBe(true)
  })

  test('none goes out in clear unless it may', async () => {
    const secret = { password: 'secret' }
    const failure = failureOf(connect(server, { user: 'clear', secret }))
    expect((await failure).message).toContain('in clear')
    expect(await works(server, { user: 'clear', secret, allowCleartext: true })).toBe(true)
  })

  test('md5 is refused', async () => {
    const failure = failureOf(connect(server, { user: 'md', secret: { password: 'secret' } }))
    expect((await failure).message).toContain('md5')
  })
})

describe.each([
  ['RSA', ['rsa:2048'], true],
  ['ECDSA with SHA-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha384'], true],
  ['Ed25519', ['ed25519'], false],
] as const)('TLS with %s', (_, algorithm, binds) => {
  let server: TestPostgres
  let dir: string
  let ca: string
  const secret = { password: 'secret' }
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mg-tls-'))
    chmodSync(dir, 0o755)
    const [key, cert] = [join(dir, 'key'), join(dir, 'cert')]
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    const files = ['-keyout', key, '-out', cert]
    const request = ['openssl', 'req', '-x509', '-nodes', '-newkey', ...algorithm]
    const made = Bun.spawnSync([...request, ...names, ...files])
    if (!made.success) throw new Error(made.stderr.toString())
    ca = readFileSync(cert, 'utf8')
    const { drop, uid, gid } = testRunAs()
    chmodSync(key, 0o600)
    if (drop) chownSync(key, uid, gid)
    server = await startPostgres({
      hba: 'local all all trust\nhostssl replication all all scram-sha-256\n',
      settings: { ssl: true, ssl_cert_file: cert, ssl_key_file: key },
      sql: [role('alice', 'secret')],
    })
  }, START_MS)
  afterAll(async () => {
    await server?.stop('immediate')
    rmSync(dir, { recursive: true, force: true })
  })

  test(`logs in, ${binds ? 'bound' : 'not bound'} to the certificate`, async () => {
    const tls = { ca, servername: 'localhost' }
    expect(await works(server, { user: 'alice', secret, tls })).toBe(true)
    const address = { host: '127.0.0.1', port: server.port }
    using stream = await WireStream.connect({ address, tls, timeoutMs: 10_000 })
    expect(stream.channelBinding !== undefined).toBe(binds)
  })

  test('refuses a certificate nobody vouches for', async () => {
    const tls = { servername: 'localhost' }
    const failure = failureOf(connect(server, { user: 'alice', secret, tls }))
    expect(await failure).toMatchObject({ sqlstate: '08006' })
  })

  test('passes a base backup whole', async () => {
    const tls = { ca, servername: 'localhost' }
    using connection = await connect(server, { user: 'alice', secret, tls })
    let bytes = 0
    for await (const event of connection.baseBackup()) {
      if (event.kind === 'data') bytes += event.bytes.length
    }
    expect(bytes).toBeGreaterThan(20_000_000)
  }, 20_000)
})
