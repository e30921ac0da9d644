// Goal: a script run by bin/run-script lives exactly as long as that, whatever ends either.
// Method: a real script under a real Node; ended by exit code, by signal, by kill -9.
import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../support/until.ts'

const ROOT = join(import.meta.dir, '..', '..')
const SCRIPT = 'test/runner/fixture/script.ts'

function start(args: readonly string[] = []) {
  const child = Bun.spawn(['node', join(ROOT, 'bin', 'run-script'), SCRIPT, ...args], {
    cwd: '/',
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  let out = ''
  const reading = (async () => {
    const decoder = new TextDecoder()
    for await (const chunk of child.stdout) out += decoder.decode(chunk, { stream: true })
  })()
  const lines = async (): Promise<string[]> => {
    await reading
    return out.trimEnd().split('\n')
  }
  const pid = (): Promise<number> => until(() => Number(/^(\d+)\n/.exec(out)?.[1] ?? 0))
  return { child, lines, pid }
}

test('the exit code is the one of the script', async () => {
  const { child } = start(['exit', '5'])
  expect(await child.exited).toBe(5)
})

test('a signal reaches the script once, which decides what comes of it', async () => {
  const { child, lines, pid } = start()
  await pid()
  child.kill('SIGINT')
  child.kill('SIGINT')
  expect(await child.exited).toBe(7)
  expect((await lines()).slice(1)).toEqual(['SIGINT'])
})

test('after a kill -9 the script reads the end of stdin', async () => {
  const { child, lines, pid } = start()
  const script = await pid()
  child.kill('SIGKILL')
  expect((await lines()).slice(1)).toEqual(['end of stdin'])
  await until(() => !existsSync(`/proc/${script}/exe`)) // gone, or a zombie nobody reaps
})

test('a script killed by a signal is told as the shell tells it', async () => {
  const { child, pid } = start()
  process.kill(await pid(), 'SIGKILL')
  expect(await child.exited).toBe(128 + 9)
})
