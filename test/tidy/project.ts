import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { readSource, type Source } from './source.ts'

const GENERATED = 'proto/gen/'
// Started by name and not imported.
const ENTRY =
  /(?:^|\/)main\.ts$|\.(?:test|long)\.ts$|^bin\/|^test\/run\.ts$|^proto\/generate\.ts$|^test\/support\/timeout\.ts$/

/** All text files of the project that are its own: neither generated nor installed. */
export function readProject(root: string): { sources: Source[]; texts: Map<string, string> } {
  const sources: Source[] = []
  const texts = new Map<string, string>()
  const patterns = ['**/*.{ts,mjs,md,json,yaml,toml,proto}', 'bin/*', '.ci/*', '.*.json']
  const paths = patterns.flatMap((pattern) => [
    ...new Bun.Glob(pattern).scanSync({ cwd: root, dot: pattern.startsWith('.') }),
  ])
  for (const path of new Set(paths)) {
    if (/(?:^|\/)node_modules\//.test(path) || path.startsWith(GENERATED)) continue
    if (/^\.(?!ci\/|ox)/.test(path) || path === 'package-lock.json') continue
    const text = readFileSync(join(root, path), 'utf8')
    texts.set(path, text)
    if (path.endsWith('.ts')) sources.push(readSource(path, text))
  }
  return { sources: sources.toSorted((a, b) => (a.path < b.path ? -1 : 1)), texts }
}

/**
 * Files that nothing uses but their own test. A file that is started as a process is used where a
 * string ends with its name.
 */
export function findDeadFiles(sources: readonly Source[]): string[] {
  const used = new Set<string>()
  for (const { path, imports } of sources) {
    for (const imported of imports) {
      const target = normalize(join(dirname(path), imported))
      if (path !== target.replace(/\.ts$/, '.test.ts')) used.add(target)
    }
  }
  const named = new Set(
    sources.flatMap(({ strings, imports }) => {
      const started = strings.filter(({ value }) => !imports.includes(value))
      return started.map(({ value }) => basename(value))
    }),
  )
  return sources
    .map(({ path }) => path)
    .filter((path) => !ENTRY.test(path) && !used.has(path) && !named.has(basename(path)))
}

/** Paths of somebody's machine, which mean nothing on any other. */
export function findMachinePaths(texts: ReadonlyMap<string, string>): string[] {
  return [...texts].flatMap(([path, text]) =>
    text.split('\n').flatMap((line, at) => {
      const found = /(?:^|[\s"'`(=:])(\/(?:work|root|home\/\w+)\/)/.exec(line)?.[1]
      return found === undefined ? [] : [`${path}:${at + 1}: ${found}`]
    }),
  )
}

/** What a document may refer to. */
export interface Known {
  /** Names of package.json's scripts. */
  scripts: readonly string[]
  /** Words that may follow `multigres`: `cluster start`. */
  commands: readonly string[]
  exists: (path: string) => boolean
}

/** Commands and files that a document names and that are not there. */
export function findDeadReferences(path: string, text: string, known: Known): string[] {
  const wrong: string[] = []
  const code = [...text.matchAll(/```[^]*?```|`[^`\n]+`/g)].map(([found]) => found).join('\n')
  for (const [, name = ''] of code.matchAll(/\b(?:npm|bun) run ([a-z][a-z:-]*)(?![\w./:|-])/g)) {
    if (!known.scripts.includes(name)) wrong.push(`npm run ${name}`)
  }
  for (const [, name = ''] of code.matchAll(/\bmultigres ([a-z]+ [a-z]+)\b/g)) {
    if (!known.commands.includes(name)) wrong.push(`multigres ${name}`)
  }
  for (const [, file = ''] of code.matchAll(/`((?:[\w-]+\/)+[\w.-]+\.(?:ts|md|proto|mjs))`/g)) {
    if (!known.exists(file)) wrong.push(file)
  }
  for (const [, link = ''] of text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)[^)]*\)/g)) {
    if (!known.exists(join(dirname(path), link))) wrong.push(link)
  }
  return wrong.map((what) => `${path}: there is no ${what}`)
}

/** What this project's documents may refer to. */
export function knownOf(root: string, sources: readonly Source[]): Known {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { scripts } = manifest as { scripts: Record<string, string> }
  // Of a command of three words the first two name its group.
  const main = sources.find(({ path }) => path === 'cli/main.ts')?.text ?? ''
  const commands = [...main.matchAll(/^ {4}'([a-z]+ [a-z]+)[a-z ]*',$/gm)].map(
    ([, name = '']) => name,
  )
  return { scripts: Object.keys(scripts), commands, exists: (path) => existsSync(join(root, path)) }
}
