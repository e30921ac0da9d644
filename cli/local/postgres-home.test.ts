import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { refuseOtherMajor } from './postgres-home.ts'

const base = mkdtempSync(join(tmpdir(), 'mg-home-'))
afterAll(() => rmSync(base, { recursive: true }))

test("another major's data is refused by name, no data is not", () => {
  const home = { binDir: '/opt/pg/bin', major: 18, runAs: resolveRunAs(undefined) }
  const dataDir = join(base, 'pgdata')
  refuseOtherMajor(home, [dataDir])
  mkdirSync(dataDir)
  writeFileSync(join(dataDir, 'PG_VERSION'), '18\n')
  refuseOtherMajor(home, [dataDir])
  writeFileSync(join(dataDir, 'PG_VERSION'), '15\n')
  expect(() => refuseOtherMajor(home, [dataDir])).toThrow('PostgreSQL 15')
})
