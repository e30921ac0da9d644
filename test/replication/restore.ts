import { createHash } from 'node:crypto'
import { chmodSync, chownSync, closeSync, mkdirSync, mkdtempSync, openSync } from 'node:fs'
import { readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BaseBackupEvent } from '../../shared/replication/base-backup.ts'
import type { TestPostgres } from '../support/postgres.ts'

/** A base backup unpacked: `base` is a data directory, owned by Postgres's user. */
export type Restored = Disposable & {
  base: string
  events: Exclude<BaseBackupEvent, { kind: 'data' }>[]
  manifest: string
  dataBytes: number
}

/** Takes a backup in and unpacks each archive into a folder of its name without '.tar'. */
export async function restore(
  backup: AsyncIterable<BaseBackupEvent>,
  owner: Pick<TestPostgres, 'runAs'>,
): Promise<Restored> {
  const dir = mkdtempSync(join(tmpdir(), 'mg-backup-'))
  chmodSync(dir, 0o755)
  const restored: Restored = {
    base: join(dir, 'base'),
    events: [],
    manifest: '',
    dataBytes: 0,
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
  const archives: string[] = []
  let file: number | undefined
  for await (const event of backup) {
    if (event.kind === 'data') {
      restored.dataBytes += event.bytes.length
      if (file === undefined) restored.manifest += event.bytes.toString()
      else writeSync(file, event.bytes)
      continue
    }
    restored.events.push(event)
    if (event.kind === 'progress') continue
    if (file !== undefined) closeSync(file)
    file = undefined
    if (event.kind === 'archive') {
      archives.push(event.name)
      file = openSync(join(dir, event.name), 'w', 0o644)
    }
  }
  for (const name of archives) await unpack(dir, name, owner)
  return restored
}

/** Files of the manifest whose checksum is not that of the unpacked file. */
export function mismatches(restored: Restored): string[] {
  type Entry = { Path: string; Checksum: string }
  const { Files } = JSON.parse(restored.manifest) as { Files: Entry[] }
  const differs = ({ Path, Checksum }: Entry) => {
    const outside = /^pg_tblspc\/(\d+\/.*)$/.exec(Path)
    const bytes = readFileSync(
      outside === null ? join(restored.base, Path) : join(restored.base, '..', outside[1]!),
    )
    return createHash('sha256').update(bytes).digest('hex') !== Checksum
  }
  if (Files.length < 500) return ['the manifest itself, it is too short']
  return Files.filter(differs).map((entry) => entry.Path)
}

/** tar itself judges whether an archive is complete: without its end blocks it says so. */
async function unpack(
  dir: string,
  name: string,
  owner: Pick<TestPostgres, 'runAs'>,
): Promise<void> {
  const target = join(dir, name.replace(/\.tar$/, ''))
  mkdirSync(target, { mode: 0o700 })
  const { drop, uid, gid } = owner.runAs
  if (drop) chownSync(target, uid, gid)
  const tar = Bun.spawn(['tar', '-xf', join(dir, name), '-C', target], {
    stderr: 'pipe',
    ...(drop ? { uid, gid } : {}),
  })
  const complaints = await new Response(tar.stderr).text()
  if ((await tar.exited) !== 0 || complaints !== '') throw new Error(`tar ${name}: ${complaints}`)
}
