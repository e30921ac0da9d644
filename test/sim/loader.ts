// Puts the stand-ins for I/O where the real modules import it from, and edits of a few lines into
// the text of real modules: the planted bugs. An edit whose text is not found ends the run, so that
// none goes stale unnoticed. Must be installed before any module of the services is imported.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** One edit of one file of the project. */
export type Edit = { readonly file: string; readonly from: string; readonly to: string }

const ROOT = join(import.meta.dir, '..', '..')
const FAKES = join(import.meta.dir, 'fakes')

/** Real module -> what stands in for it. */
const STAND_INS: Readonly<Record<string, string>> = {
  'shared/rpc/client.ts': './fakes/rpc-client.ts',
  'shared/rpc/server.ts': './fakes/rpc-server.ts',
  'shared/topology/directory.ts': './fakes/directory.ts',
  'pooler/term/system-session.ts': './fakes/system-session.ts',
  'pooler/term/rule-store.ts': './fakes/rule-store.ts',
  'pooler/term/promise-file.ts': './fakes/promise-file.ts',
  'pooler/term/cluster-id.ts': './fakes/cluster-id.ts',
  'pooler/replication/leader-wal.ts': './fakes/leader-wal.ts',
  'pooler/replication/incomplete-record.ts': './fakes/incomplete-record.ts',
}

/** The class with the calls gives way; the pure functions beside it stay. */
const PGCTLD = 'pooler/term/pgctld-client.ts'

/** For the whole process. */
export function install(edits: readonly Edit[]): void {
  const files = new Set([...Object.keys(STAND_INS), PGCTLD, ...edits.map(({ file }) => file)])
  for (const edit of edits) edited(edit.file, edits) // what does not fit is told now
  Bun.plugin({
    name: 'simulator',
    setup(build) {
      for (const file of files) {
        const filter = new RegExp(`^${RegExp.escape(join(ROOT, file))}$`)
        build.onLoad({ filter }, () => ({ contents: contentsOf(file, edits), loader: 'ts' }))
      }
    },
  })
}

function contentsOf(file: string, edits: readonly Edit[]): string {
  const standIn = STAND_INS[file]
  if (standIn !== undefined) return `export * from '${join(import.meta.dir, standIn)}'`
  const text = edited(file, edits)
  if (file !== PGCTLD) return text
  const start = text.indexOf('/** The calls.')
  const end = text.indexOf('/** `PID/START`')
  if (start < 0 || end < 0) throw new Error(`${PGCTLD} is not as the simulator knows it`)
  const own = `export { Pgctld } from '${join(FAKES, 'pgctld-client.ts')}'\n`
  const imports = "import { State } from '../../proto/gen/pgctld.ts'\n"
  return imports + own + text.slice(end)
}

function edited(file: string, edits: readonly Edit[]): string {
  let text = readFileSync(join(ROOT, file), 'utf8')
  for (const edit of edits) {
    if (edit.file !== file) continue
    if (!text.includes(edit.from)) throw new Error(`${file} does not contain: ${edit.from}`)
    text = text.replace(edit.from, () => edit.to)
  }
  return text
}
