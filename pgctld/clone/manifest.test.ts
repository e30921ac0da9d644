import { expect, test } from 'bun:test'
import { PgError } from '../../shared/errors/pg-error.ts'
import { compareWithManifest, parseManifest, type FileDigest } from './manifest.ts'

const A = 'a'.repeat(64)
const B = 'b'.repeat(64)

function manifest(files: string, change = (text: string) => text): string {
  const body = `{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n${files}\n],\n`
  const sum = new Bun.CryptoHasher('sha256').update(body).digest('hex')
  return change(`${body}"Manifest-Checksum": "${sum}"}\n`)
}

const file = (path: string, size: number, sum: string) =>
  `{ "Path": "${path}", "Size": ${size}, "Checksum-Algorithm": "SHA256", "Checksum": "${sum}" }`

const digests = (entries: Record<string, [number, string]>) =>
  new Map<string, FileDigest>(
    Object.entries(entries).map(([path, [sizeBytes, sha256]]) => [path, { sizeBytes, sha256 }]),
  )

test('a manifest is read with plain and with encoded paths', () => {
  const encoded = file('x', 2, B).replace('"Path": "x"', '"Encoded-Path": "62617365ff"')
  const files = parseManifest(manifest(`${file('PG_VERSION', 3, A)},\n${encoded}`))
  expect([...files]).toEqual([
    ['PG_VERSION', { sizeBytes: 3, sha256: A }],
    ['base\u00ff', { sizeBytes: 2, sha256: B }],
  ])
})

test('a manifest that was changed or cut is refused', () => {
  const whole = manifest(file('PG_VERSION', 3, A))
  expect(() => parseManifest(whole.replace('"Size": 3', '"Size": 4'))).toThrow('own checksum')
  expect(() => parseManifest(whole.slice(0, -20))).toThrow(PgError)
})

test('what was received must be what is listed; WAL is not listed', () => {
  const listed = digests({ PG_VERSION: [3, A], 'base/1/2': [8192, B] })
  const whole = { PG_VERSION: [3, A], 'base/1/2': [8192, B], 'pg_wal/0001': [16, A] } as const
  const received = (changes: Record<string, [number, string]>) =>
    digests({ ...(whole as unknown as Record<string, [number, string]>), ...changes })
  compareWithManifest(listed, received({}))
  const compare = (changes: Record<string, [number, string]>) => () =>
    compareWithManifest(listed, received(changes))
  expect(compare({ PG_VERSION: [4, A] })).toThrow('PG_VERSION has 4 bytes, not 3')
  expect(compare({ PG_VERSION: [3, B] })).toThrow('PG_VERSION has another checksum')
  expect(compare({ extra: [0, A] })).toThrow('extra is not listed')
  expect(() => compareWithManifest(listed, digests({ PG_VERSION: [3, A] }))).toThrow(
    'base/1/2 was not sent',
  )
})
