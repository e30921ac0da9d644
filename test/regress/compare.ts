import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * How the answers of a run stand to those of Postgres itself: the same bytes; one of the other
 * answers that the suite accepts for this test; an answer that none of them is; or none at all. Tests of psql itself are skipped without psql.
 */
export type Verdict = 'same' | 'accepted' | 'differs' | 'missing' | 'skipped'

/** One answer to one test, and whether the suite accepts it. */
export type Answer = { readonly text: string | undefined; readonly asExpected: boolean }

/** Judges an answer by those that Postgres itself gave; they may differ among themselves. */
export function judge(answer: Answer, direct: readonly Answer[]): Verdict {
  if (answer.text === undefined)
    return direct.every(({ text }) => text === undefined) ? 'same' : 'missing'
  if (direct.some(({ text }) => text === answer.text)) return 'same'
  return answer.asExpected ? 'accepted' : 'differs'
}

/** `diff -U3` of two texts of bytes (latin1). */
export async function unifiedDiff(
  from: { name: string; text: string },
  to: { name: string; text: string },
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mg-diff-'))
  try {
    const files = [join(dir, 'a'), join(dir, 'b')]
    await writeFile(join(dir, 'a'), from.text, 'latin1')
    await writeFile(join(dir, 'b'), to.text, 'latin1')
    const labels = ['--label', from.name, '--label', to.name]
    const child = Bun.spawn(['diff', '--text', '-U3', ...labels, ...files], { stdout: 'pipe' })
    return Buffer.from(await child.stdout.bytes()).toString('latin1')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
