import { basename, dirname, join } from 'node:path'
import type { Source } from './source.ts'

/** A rule about one file at a time: what it finds wrong, in words; nothing when all is well. */
export interface FileRule {
  readonly name: string
  find(source: Source): string[]
}

const COLUMNS_MAX = 100
const SERVICES = ['gateway', 'pooler', 'orch', 'pgctld', 'admin']
const PURE = ['shared/pgwire/', 'shared/errors/', 'shared/consensus/']
const IO =
  /^(?:bun|bun:.*|node:(?:net|tls|fs|fs\/promises|http|https|http2|dgram|child_process|dns))$/
const IO_CALL = /\bBun\.(?:listen|connect|serve|spawn|spawnSync|file|write|udpSocket)\b|\bfetch\(/g
const CLOCKS =
  /\b(?:Date\.now|Math\.random|performance\.now|setTimeout|setInterval|process\.hrtime|Bun\.nanoseconds|Bun\.sleep|Bun\.sleepSync|Atomics\.wait)\b|\bnew Date\(\s*\)/g
// Members that only the global has: a local variable may well be a `process` with a pid.
const PROCESS =
  /(?<![.\w])process\.(?:env|exit|exitCode|argv|kill|cwd|chdir|on|once|off|emit|stdin|stdout|stderr|getuid|geteuid|getgid|setuid|setgid|umask|platform|arch|versions|ppid|nextTick|title|execPath|memoryUsage|cpuUsage|uptime)\b|\bBun\.(?:env|argv)\b|\bimport\.meta\.env\b/g
// An interval that does nothing waits for nothing: it keeps a process of a test alive.
const WAITING = /\b(?:sleep|setTimeout|setInterval|sleepSync)\((?!\(\) => \{\})/g
const MAY_WAIT = /^test\/(?:support|fuzz|chaos|bench|load|sim|runner)\/|\/fixture\/|^test\/run\.ts$/

/** Every rule that looks at one file. */
export const FILE_RULES: readonly FileRule[] = [
  { name: 'lines are at most 100 columns wide', find: wideLines },
  { name: 'a service imports shared code and never another service', find: wrongImports },
  { name: 'the pure parts do no I/O', find: (source) => (isPure(source) ? findIo(source) : []) },
  { name: 'only shared/time has clocks, timers and dice', find: clocks },
  { name: 'only main.ts, cli, bin and shared/lifecycle touch the process', find: processUses },
  { name: 'no file only passes on what others export', find: barrels },
  { name: 'file names are kebab-case', find: names },
  { name: 'tests wait for conditions, not for time', find: waits },
  { name: 'tests state facts, never what should be', find: shoulds },
  { name: 'nothing is left to do later', find: markers },
]

function each(source: Source, where: string, pattern: RegExp, why: string): string[] {
  return [...where.matchAll(pattern)].map(({ 0: found, index }) => {
    const line = source.text.slice(0, index).split('\n').length
    return `${source.path}:${line}: ${found.trim()} ${why}`
  })
}

function wideLines(source: Source): string[] {
  const code = source.code.split('\n')
  return source.text.split('\n').flatMap((line, at) => {
    // A long literal in a test (bytes, messages) may stay in one piece.
    const counted = source.isTest ? (code[at] ?? '').replace(/(['"`/]) +\1?/g, '') : line
    const width = Bun.stringWidth(counted.trimEnd())
    return width > COLUMNS_MAX ? [`${source.path}:${at + 1}: ${width} columns`] : []
  })
}

function wrongImports(source: Source): string[] {
  const own = source.path.split('/')[0] ?? ''
  return source.imports.flatMap((imported) => {
    if (!imported.startsWith('.')) return []
    const target = join(dirname(source.path), imported).split('/')[0] ?? ''
    const toService = SERVICES.includes(target) && target !== own
    const wrong =
      (toService && (SERVICES.includes(own) || own === 'shared')) ||
      (target === 'cli' && own !== 'cli' && own !== 'test') ||
      (target === 'test' && !source.isTest)
    return wrong ? [`${source.path}: imports ${imported}`] : []
  })
}

function isPure({ path, isTest }: Source): boolean {
  return !isTest && PURE.some((folder) => path.startsWith(folder))
}

function findIo(source: Source): string[] {
  const imported = source.imports.filter((name) => IO.test(name))
  const calls = each(source, source.code, IO_CALL, 'is I/O')
  return [...imported.map((name) => `${source.path}: imports ${name}`), ...calls]
}

function clocks(source: Source): string[] {
  if (source.isTest || source.path.startsWith('shared/time/')) return []
  return each(source, source.code, CLOCKS, 'belongs to shared/time')
}

function processUses(source: Source): string[] {
  const { path, isTest } = source
  const allowed = ['cli/', 'bin/', 'shared/lifecycle/', 'shared/time/', 'proto/']
  if (isTest || basename(path) === 'main.ts' || allowed.some((at) => path.startsWith(at))) return []
  return each(source, source.code, PROCESS, 'is for main.ts to pass on')
}

function barrels(source: Source): string[] {
  if (basename(source.path) === 'index.ts') return [`${source.path}: is named index.ts`]
  return each(source, source.code, /\bexport\s+(?:\*|(?:type\s+)?\{[^}]*\}\s*from\b)/g, 'passes on')
}

function names({ path }: Source): string[] {
  return /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(basename(path)) ? [] : [`${path}: is not kebab-case`]
}

function waits(source: Source): string[] {
  const { path, isTest, imports } = source
  const fakeTime = imports.some((name) => name.endsWith('/fake-time.ts'))
  if (!isTest || fakeTime || MAY_WAIT.test(path) || path.includes('/fake-')) return []
  return each(source, source.code, WAITING, 'waits for time: use until(condition)')
}

function shoulds(source: Source): string[] {
  const named = source.strings.filter(({ at, value }) => {
    return (
      /\b(?:test|describe|it)\b[^\n]*\($/.test(lineBefore(source, at)) &&
      /^(?:\w+ )?should\b/.test(value)
    )
  })
  return named.map(({ value }) => `${source.path}: "${value}"`)
}

function lineBefore({ code }: Source, at: number): string {
  return code.slice(code.lastIndexOf('\n', at) + 1, at)
}

function markers(source: Source): string[] {
  return each(source, source.comments, /\b(?:TODO|FIXME|HACK)\b/g, 'is not for here')
}
