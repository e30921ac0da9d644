// Generates proto/gen/ from proto/*.proto with ts-proto. `--check` only compares, for CI's drift
// test.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PROTO_DIR = import.meta.dir
const BIN_DIR = join(PROTO_DIR, '..', 'node_modules', '.bin')

/**
 * ts-proto options: grpc-js service definitions, 64-bit integers as bigint, explicit .ts imports.
 */
const OPTIONS = [
  'outputServices=grpc-js',
  'forceLong=bigint',
  'oneof=unions-value',
  'importSuffix=.ts',
  'esModuleInterop=true',
  'useOptionals=none',
  'env=node',
  'outputJsonMethods=false',
  'unrecognizedEnum=false',
  'stringEnums=true',
  'enumsAsLiterals=true',
]

const check = Bun.argv.includes('--check')
const outDir = check ? mkdtempSync(join(tmpdir(), 'proto-gen-')) : join(PROTO_DIR, 'gen')
const template = {
  version: 'v2',
  plugins: [
    { local: join(BIN_DIR, 'protoc-gen-ts_proto'), out: outDir, opt: OPTIONS, strategy: 'all' },
  ],
}
const run = Bun.spawnSync(
  [join(BIN_DIR, 'buf'), 'generate', '--template', JSON.stringify(template), PROTO_DIR],
  { stdout: 'inherit', stderr: 'inherit' },
)
if (run.exitCode !== 0) process.exit(run.exitCode)

if (check) {
  const committed = join(PROTO_DIR, 'gen')
  const drifted = new Set([...readdirSync(outDir), ...readdirSync(committed)])
    .values()
    .filter((file) => read(join(outDir, file)) !== read(join(committed, file)))
  const names = [...drifted]
  rmSync(outDir, { recursive: true })
  if (names.length > 0) {
    console.error(`proto/gen differs from proto/*.proto: ${names.join(', ')}; run npm run generate`)
    process.exit(1)
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // only on one side: that is a difference
  }
}
