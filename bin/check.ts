// `npm run check`: everything that a machine can say about the code without running it. One line
// for each verdict; what a tool complained about stands above its line.
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '..')
const tool = (name: string): string => join(ROOT, 'node_modules', '.bin', name)

const CHECKS: readonly { name: string; command: readonly string[] }[] = [
  { name: 'format', command: [tool('oxfmt'), '--check', '.'] },
  { name: 'lint', command: [tool('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'types', command: [tool('tsc'), '--noEmit'] },
  { name: 'generated code', command: [process.execPath, 'proto/generate.ts', '--check'] },
]

/** Runs one check; its output is shown only when it fails. */
async function check(name: string, command: readonly string[]): Promise<boolean> {
  const child = Bun.spawn([...command], { cwd: ROOT, stdout: 'pipe', stderr: 'pipe' })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (code !== 0) process.stdout.write(`${out}${err}`)
  process.stdout.write(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}\n`)
  return code === 0
}

const verdicts: boolean[] = []
for (const { name, command } of CHECKS) verdicts.push(await check(name, command))
process.exitCode = verdicts.every(Boolean) ? 0 : 1
