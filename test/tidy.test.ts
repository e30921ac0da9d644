// Goal: what a machine can judge without taste holds in every file.
// Method: each rule looks at the whole project, and first at a bad snippet that it must refuse.
import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import {
  findDeadFiles,
  findDeadReferences,
  findMachinePaths,
  knownOf,
  readProject,
} from './tidy/project.ts'
import { FILE_RULES } from './tidy/rules.ts'
import { readSource, type Source } from './tidy/source.ts'

const ROOT = join(import.meta.dir, '..')
const { sources, texts } = readProject(ROOT)

/** For each rule files it must refuse, and files of the same kind that are fine. */
const CASES: Record<string, { bad: [string, string][]; good: [string, string][] }> = {
  'lines are at most 100 columns wide': {
    bad: [
      ['shared/x/a.ts', `const text = '${'x'.repeat(100)}'`],
      ['test/a.test.ts', `const a = ${'1 + '.repeat(30)}1`],
    ],
    good: [
      ['shared/x/a.ts', `// ${'ü'.repeat(97)}`],
      ['test/a.test.ts', `expect(text).toBe('${'x'.repeat(200)}')`],
    ],
  },
  'a service imports shared code and never another service': {
    bad: [
      ['gateway/a.ts', "import { x } from '../pooler/b.ts'"],
      ['pooler/pool/a.ts', "const x = await import('../../orch/b.ts')"],
      ['shared/x/a.ts', "import type { X } from '../../gateway/b.ts'"],
      ['orch/a.ts', "import { x } from '../cli/b.ts'"],
      ['shared/x/a.ts', "export { x } from '../../test/support/until.ts'"],
    ],
    good: [
      ['gateway/session/a.ts', "import { x } from '../../shared/b.ts'\nimport '../main.ts'"],
      ['shared/x/a.test.ts', "import { x } from '../../test/support/until.ts'"],
      ['gateway/a.ts', "// import { x } from '../pooler/b.ts'"],
    ],
  },
  'the pure parts do no I/O': {
    bad: [
      ['shared/pgwire/a.ts', "import net from 'node:net'"],
      ['shared/errors/a.ts', "import { dlopen } from 'bun:ffi'"],
      ['shared/consensus/a.ts', 'const text = await Bun.file(path).text()'],
    ],
    good: [
      ['shared/pgwire/a.test.ts', "import { readFileSync } from 'node:fs'"],
      ['shared/topology/a.ts', "import { readFileSync } from 'node:fs'"],
    ],
  },
  'only shared/time has clocks, timers and dice': {
    bad: [
      ['gateway/a.ts', 'const at = Date.now()'],
      ['shared/x/a.ts', 'const at = `${Math.random()}`'],
      ['cli/a.ts', 'setTimeout(stop, 10)'],
      ['cli/a.ts', 'const at = new Date().toISOString()'],
    ],
    good: [
      ['shared/time/a.ts', 'const at = Date.now()'],
      ['gateway/a.ts', "// Date.now() jumps\nconst text = 'Date.now()'\nnew Date(ms)"],
    ],
  },
  'only main.ts, cli, bin and shared/lifecycle touch the process': {
    bad: [
      ['gateway/a.ts', 'const user = process.env.USER'],
      ['shared/x/a.ts', 'if (bad) process.exit(1)'],
      ['orch/a.ts', "Bun.env['USER']"],
    ],
    good: [
      ['gateway/main.ts', 'await main(process.argv)'],
      ['pgctld/a.ts', 'const { pid } = process\nprocess.pid + other.process.exit'],
    ],
  },
  'no file only passes on what others export': {
    bad: [
      ['shared/x/index.ts', 'export const x = 1'],
      ['shared/x/a.ts', "export * from './b.ts'"],
      ['shared/x/a.ts', "export {\n  type X,\n  y,\n} from './b.ts'"],
    ],
    good: [['shared/x/a.ts', "import { y } from './b.ts'\nexport { y as z }"]],
  },
  'file names are kebab-case': {
    bad: [['shared/x/messageReader.ts', '']],
    good: [['shared/x/message-reader.test.ts', '']],
  },
  'tests wait for conditions, not for time': {
    bad: [
      ['shared/x/a.test.ts', 'await sleep(10)'],
      ['test/pooler/a.ts', 'setTimeout(done, 10)'],
      ['test/pooler/a.long.ts', 'await Bun.sleep(10)'],
    ],
    good: [
      ['test/support/a.ts', 'await Bun.sleep(10)'],
      ['test/pooler/a.test.ts', "await query('select pg_sleep(1)')"],
    ],
  },
  'tests state facts, never what should be': {
    bad: [['test/a.test.ts', "test('it should work', () => {})"]],
    good: [['test/a.test.ts', "test('it works', () => expect(x, 'should').toBe(1))"]],
  },
  'nothing is left to do later': {
    bad: [
      ['shared/x/a.ts', '// TODO: later'],
      ['shared/x/a.ts', '/* FIXME */'],
    ],
    good: [['shared/x/a.ts', "const word = 'TODO'"]],
  },
}

describe.each(FILE_RULES.map((rule) => [rule.name, rule] as const))('%s', (name, rule) => {
  test('what breaks the rule is found, and nothing else', () => {
    const { bad = [], good = [] } = CASES[name] ?? {}
    expect(bad.length).toBeGreaterThan(0)
    for (const [path, text] of bad) {
      expect([text, rule.find(readSource(path, text)).length]).toEqual([text, 1])
    }
    for (const [path, text] of good) expect(rule.find(readSource(path, text))).toEqual([])
  })

  test('every file keeps the rule', () => {
    expect(sources.flatMap((source) => rule.find(source))).toEqual([])
  })
})

describe('files', () => {
  test('a file that nothing but its test uses is dead', () => {
    const project: Source[] = [
      readSource('gateway/main.ts', "import { a } from './a.ts'\nconst run = ['./child.ts']"),
      readSource('gateway/a.ts', ''),
      readSource('gateway/b.ts', ''),
      readSource('gateway/b.test.ts', "import { b } from './b.ts'"),
      readSource('gateway/child.ts', ''),
      readSource('test/support/c.ts', ''),
      readSource('test/support/d.ts', ''),
      readSource('test/a.test.ts', "import { d } from './support/d.ts'"),
    ]
    expect(findDeadFiles(project)).toEqual(['gateway/b.ts', 'test/support/c.ts'])
  })

  test('no file of the project is dead', () => {
    expect(findDeadFiles(sources)).toEqual([])
  })

  test('a path of one machine is found in any text', () => {
    const bad = ['see /work/x/', '"/root/x"', '(/home/ann/x)'].join('\n')
    expect(findMachinePaths(new Map([['a.md', bad]]))).toHaveLength(3)
    const good = 'framework/main, etcd://h/root/x, ~/home/ann'
    expect(findMachinePaths(new Map([['a.md', good]]))).toEqual([])
  })

  test('no file names a path of one machine', () => {
    const others = new Map([...texts].filter(([path]) => path !== 'test/tidy.test.ts'))
    expect(findMachinePaths(others)).toEqual([])
  })
})

describe('documents', () => {
  const documents = [...texts].filter(([path]) => path.endsWith('.md'))

  test('a command, file or link that is not there is found', () => {
    const known = { scripts: ['check'], commands: ['cluster start'], exists: () => false }
    const text = [
      '`npm run chek` and ```sh\nmultigres cluster begin\n```',
      '`shared/none.ts` and [the guide](guide.md)',
    ].join('\n')
    expect(findDeadReferences('docs/a.md', text, known)).toEqual([
      'docs/a.md: there is no npm run chek',
      'docs/a.md: there is no multigres cluster begin',
      'docs/a.md: there is no shared/none.ts',
      'docs/a.md: there is no guide.md',
    ])
    const good = '`npm run check`, `multigres cluster start`, [there](https://example.com)'
    expect(findDeadReferences('docs/a.md', good, known)).toEqual([])
  })

  test('every command, file and link in the documents is there', () => {
    const known = knownOf(ROOT, sources)
    expect(documents.flatMap(([path, text]) => findDeadReferences(path, text, known))).toEqual([])
  })
})

test('sizes, for the reader: lines of a file', () => {
  const own = sources.filter(({ isTest }) => !isTest)
  const lines = own.map(({ text }) => text.split('\n').length).toSorted((a, b) => a - b)
  const at = (share: number): number => lines[Math.floor((lines.length - 1) * share)] ?? 0
  const longest = own.filter(({ text }) => text.split('\n').length > 600).map(({ path }) => path)
  console.log(`files ${lines.length}, lines: median ${at(0.5)}, p90 ${at(0.9)}, most ${at(1)}`)
  if (longest.length > 0) console.log(`over 600 lines: ${longest.join(', ')}`)
  expect(lines.length).toBeGreaterThan(0)
})
