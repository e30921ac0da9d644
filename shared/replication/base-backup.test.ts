import { expect, test } from 'bun:test'
import { baseBackupCommand } from './base-backup.ts'

test('the command is in the words of the server', () => {
  expect(baseBackupCommand({}, 14)).toBe(
    "BASE_BACKUP LABEL 'multigres' MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256' FAST WAL NOWAIT",
  )
  expect(baseBackupCommand({}, 15)).toBe(
    "BASE_BACKUP (LABEL 'multigres', MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', " +
      "CHECKPOINT 'fast', WAL, WAIT false)",
  )
})

test('every option is passed on', () => {
  const options = {
    label: "it's",
    checkpoint: 'spread',
    wal: false,
    manifest: 'no',
    progress: true,
    tablespaceMap: true,
    rateMaxKb: 1024,
  } as const
  expect(baseBackupCommand(options, 14)).toBe(
    "BASE_BACKUP LABEL 'it''s' PROGRESS TABLESPACE_MAP MAX_RATE 1024 MANIFEST 'no'",
  )
  expect(baseBackupCommand(options, 18)).toBe(
    "BASE_BACKUP (LABEL 'it''s', PROGRESS, TABLESPACE_MAP, MAX_RATE 1024, MANIFEST 'no', " +
      "CHECKPOINT 'spread')",
  )
})
