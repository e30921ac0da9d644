// The project with a guard taken out: a copy of its services with a few words changed, to be run as
// real processes. What does not fit any more is told at once.
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '..', '..')
const PARTS = ['gateway', 'orch', 'pgctld', 'pooler', 'proto', 'shared', 'package.json']

/** `from` stands once in `file`, whose path begins at the root. */
export type Edit = { readonly file: string; readonly from: string; readonly to: string }

/** The texts of the files that `edits` change. @throws Error for an edit that does not fit. */
export function edited(edits: readonly Edit[]): Map<string, string> {
  const texts = new Map<string, string>()
  for (const { file, from, to } of edits) {
    const text = texts.get(file) ?? readFileSync(join(ROOT, file), 'utf8')
    const parts = text.split(from)
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${from}`)
    texts.set(file, parts.join(to))
  }
  return texts
}

/** See the head of this file. */
export class Planted implements Disposable {
  readonly root: string

  constructor(edits: readonly Edit[]) {
    this.root = mkdtempSync(join(tmpdir(), 'mg-planted-'))
    chmodSync(this.root, 0o755) // Postgres runs as another user
    for (const part of PARTS) cpSync(join(ROOT, part), join(this.root, part), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules'), join(this.root, 'node_modules'))
    for (const [file, text] of edited(edits)) writeFileSync(join(this.root, file), text)
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}
