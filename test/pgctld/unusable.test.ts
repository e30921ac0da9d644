// Goal: what pgctld cannot use it names and leaves exactly as it was.
// Method: a good data directory is spoilt in one way at a time; a listing of it with sizes, modes,
// owners and times is taken before and after every attempt.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { requireReachable } from '../../pgctld/postgres/folders.ts'
import { findInstallation } from '../../pgctld/postgres/installation.ts'
import { failureOf } from '../support/failure.ts'
import { testRunAs } from '../support/postgres.ts'
import { Member, cleanUp } from './managed.ts'

setDefaultTimeout(30_000)
afterAll(cleanUp)

const isRoot = userInfo().uid === 0

function listing(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((name) => {
      const { size, mode, uid, mtimeMs } = lstatSync(join(dir, name))
      return [name, size, mode, uid, mtimeMs].join(' ')
    })
}

interface Damage {
  what: string
  spoil: (dataDir: string) => void
  says: string
  rootOnly?: boolean
}

const DAMAGES: Damage[] = [
  {
    what: 'a mode that is too open',
    spoil: (dir) => chmodSync(dir, 0o755),
    says: 'has mode 0755, Postgres demands 0700 or 0750',
  },
  {
    what: 'another owner',
    spoil: (dir) => chownSync(dir, 12345, 12345),
    says: 'belongs to user id 12345',
    rootOnly: true,
  },
  {
    what: 'another major version',
    spoil: (dir) => writeFileSync(join(dir, 'PG_VERSION'), '13\n'),
    says: 'is of PostgreSQL 13',
  },
  {
    what: 'no pg_control',
    spoil: (dir) => rmSync(join(dir, 'global/pg_control')),
    says: 'global/pg_control: ENOENT',
  },
  {
    what: 'a short pg_control',
    spoil: (dir) => truncateSync(join(dir, 'global/pg_control'), 100),
    says: 'global/pg_control: only 100 bytes',
  },
  {
    what: 'a pg_control with a flipped byte',
    spoil: (dir) => overwrite(join(dir, 'global/pg_control'), 48, 'x'),
    says: 'global/pg_control: its checksum is wrong',
  },
  {
    what: "somebody else's cluster",
    spoil: (dir) => rmSync(join(dir, 'multigres.conf')),
    says: 'was not made by pgctld',
  },
]

function overwrite(path: string, at: number, text: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, text, at)
  closeSync(fd)
}

describe.each(DAMAGES)('$what', ({ spoil, says, rootOnly }) => {
  test.skipIf(rootOnly === true && !isRoot)('is named by Status and every action', async () => {
    await using member = await Member.initialised()
    spoil(member.dataDir)
    const before = listing(member.base)
    expect(member.status).toMatchObject({ state: 'UNUSABLE', pid: 0, accepting: false })
    expect(member.status.message).toContain(says)
    expect(member.status.message).toContain(member.dataDir)
    for (const action of [
      () => member.start(),
      () => member.postgres.init([]),
      () => member.postgres.reload({ work_mem: '1MB' }),
      () => member.postgres.promote(2, 1000),
      () => member.clone({ port: 1 }),
    ]) {
      expect(await failureOf(action())).toMatchObject({ message: expect.stringContaining(says) })
    }
    await member.stop()
    expect(listing(member.base)).toEqual(before)
  })
})

test('a file where the data directory should be is named', async () => {
  await using member = await Member.create()
  writeFileSync(member.dataDir, 'x')
  expect(member.status).toMatchObject({ state: 'UNUSABLE' })
  expect(member.status.message).toContain('is not a directory')
  expect(await failureOf(member.postgres.init([]))).toMatchObject({ sqlstate: '55000' })
})

test('a busy port is named before anything is started', async () => {
  await using member = await Member.initialised()
  const { port } = member.postgres.options
  const busy = Bun.listen({ hostname: '127.0.0.1', port, socket: { data: () => {} } })
  expect(await failureOf(member.start())).toMatchObject({
    message: expect.stringContaining(`port ${port} on 127.0.0.1 is busy`),
  })
  busy.stop(true)
  await member.start()
  expect(member.status.state).toBe('RUNNING')
})

test.skipIf(!isRoot)("a folder that Postgres's user cannot enter is named", async () => {
  const closed = mkdtempSync(join(tmpdir(), 'mg-closed-')) // 0700, root's
  const { name } = testRunAs()
  expect(() => requireReachable(join(closed, 'deep', 'pgdata'), testRunAs())).toThrow(
    `user ${name} cannot enter ${closed}, which is above ${closed}/deep/pgdata`,
  )
  rmSync(closed, { recursive: true })
})

test('a Postgres of a major we do not know, and one that does not run, are refused', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mg-bin-'))
  chmodSync(dir, 0o755)
  const program = (text: string) => {
    for (const name of ['postgres', 'initdb']) {
      writeFileSync(join(dir, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
    }
  }
  program('echo "postgres (PostgreSQL) 13.4"')
  expect(await failureOf(findInstallation(dir, testRunAs()))).toMatchObject({
    message: expect.stringContaining('need PostgreSQL 14 to 18'),
  })
  program('echo "error while loading shared libraries" >&2; exit 127')
  expect(await failureOf(findInstallation(dir, testRunAs()))).toMatchObject({
    message: expect.stringContaining('shared libraries'),
  })
  rmSync(join(dir, 'initdb'))
  expect((await failureOf(findInstallation(dir, testRunAs()))).message).toContain('has no initdb')
  rmSync(dir, { recursive: true })
  expect((await failureOf(findInstallation(dir, testRunAs()))).message).toContain('does not exist')
})

test.skipIf(!isRoot)('a full disk ends init with its name, and nothing is left', async () => {
  const mount = mkdtempSync(join(tmpdir(), 'mg-full-'))
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=20m,mode=0755', 'none', mount])
  if (mounted.exitCode !== 0) return console.warn('cannot mount a tmpfs here')
  try {
    const member = await Member.create('embedded', { dataDir: mount })
    expect(await failureOf(member.postgres.init([]))).toMatchObject({
      condition: 'disk_full',
      message: expect.stringContaining(member.dataDir),
    })
    expect(readdirSync(mount)).toEqual([])
  } finally {
    Bun.spawnSync(['umount', mount])
    rmSync(mount, { recursive: true })
  }
})
