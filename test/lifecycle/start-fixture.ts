import { join } from 'node:path'

const MAIN = join(import.meta.dir, 'fixture', 'main.ts')

/** A fixture service that runs, or has run. */
export interface Fixture extends AsyncDisposable {
  readonly child: Bun.Subprocess<'pipe', 'pipe', 'pipe'>
  /** Base URL of its HTTP; empty when it ended without one. */
  readonly url: string
  /** What it wrote so far, without the URL. */
  readonly out: string[]
  readonly err: string[]
  /** Waits for its end: exit code, stdout after the URL, stderr. */
  end(): Promise<{ code: number; out: string[]; err: string[] }>
}

/** Starts the fixture and waits until it serves HTTP or has ended. */
export async function startFixture(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Fixture> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const out: string[] = []
  const err: string[] = []
  const first = Promise.withResolvers<string>()
  const reading = Promise.all([
    read(child.stdout, (line) => (line.startsWith('http') ? first.resolve(line) : out.push(line))),
    read(child.stderr, (line) => err.push(line)),
  ])
  void reading.then(() => first.resolve(''))
  const end = async () => {
    const code = await child.exited
    await reading
    return { code, out, err }
  }
  const dispose = async (): Promise<void> => {
    child.kill('SIGKILL')
    await child.exited
  }
  return { child, url: await first.promise, out, err, end, [Symbol.asyncDispose]: dispose }
}

async function read(
  stream: ReadableStream<Uint8Array>,
  take: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  }
}
