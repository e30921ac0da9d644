// Runs a program that knows nothing of our supervision, and ends it when stdin, the pipe that its
// supervisor holds, is closed: so it does not outlive a supervisor that was killed.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'

const [program = '', ...argv] = Bun.argv.slice(2)
const child = spawn(program, argv, { stdio: ['ignore', 'inherit', 'inherit'] })
const stop = (): void => void child.kill('SIGTERM')

process.on('SIGTERM', stop).on('SIGINT', stop)
process.stdin.on('end', stop).on('error', stop).resume()
child.on('error', (error) => {
  process.stderr.write(`${program}: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) =>
  process.exit(code ?? 128 + constants.signals[signal ?? 'SIGHUP']),
)
