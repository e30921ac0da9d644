// Runs a program that knows nothing of our supervision, and ends it when stdin, the pipe that its
// supervisor holds, is closed: so it does not outlive a supervisor that was killed. What it says
// passes through here, since its log is opened anew when that is rotated (SIGHUP).
import { spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import { constants } from 'node:os'
import { LOG_FILE, reopenOutput } from '../../shared/lifecycle/log-output.ts'

const STDERR_FD = 2

const [program = '', ...argv] = Bun.argv.slice(2)
const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
const stop = (): void => void child.kill('SIGTERM')
const say = (text: Buffer | string): void => {
  try {
    writeSync(STDERR_FD, Buffer.from(text))
  } catch {
    // A full disk: the program goes on without its log.
  }
}

process.on('SIGTERM', stop).on('SIGINT', stop)
process.on('SIGHUP', () => {
  try {
    const file = process.env[LOG_FILE]
    if (file !== undefined) reopenOutput(file)
  } catch (error) {
    say(`log file not opened anew: ${String(error)}\n`)
  }
})
process.stdin.on('end', stop).on('error', stop).resume()
child.stdout.on('data', say)
child.stderr.on('data', say)
child.on('error', (error) => {
  say(`${program}: ${error.message}\n`)
  process.exit(1)
})
// 'close' comes after everything that it said.
child.on('close', (code, signal) =>
  process.exit(code ?? 128 + constants.signals[signal ?? 'SIGHUP']),
)
