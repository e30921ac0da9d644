// See classifier-check.ts for the goal and the method. FIDELITY_SQL names a folder of .sql files,
// PostgreSQL's own test suite for one, whose statements are checked as well.
import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startPostgres } from '../support/postgres.ts'
import { checkClassifier } from './classifier-check.ts'
import { CORPUS } from './classifier-corpus.ts'
import { splitScript } from './split-script.ts'

const FOLDER = Bun.env['FIDELITY_SQL']
const LIMIT_MS = 900_000

test('no text that is called plain leaves anything behind', async () => {
  await using postgres = await startPostgres()
  const address = { host: '127.0.0.1', port: postgres.port }
  const verdicts = await checkClassifier(address, 'postgres', CORPUS)
  const { statements, plain, harmless, wrong } = verdicts
  console.error(`${statements} statements: ${plain} plain, ${harmless} others left nothing`)
  expect(wrong).toEqual([])
  expect(plain).toBeGreaterThan(statements / 3)
}, 60_000)

test.skipIf(FOLDER === undefined)(
  'nor does any of a folder',
  async () => {
    const folder = FOLDER ?? ''
    const files = readdirSync(folder).filter((name) => name.endsWith('.sql'))
    await using postgres = await startPostgres({
      sql: files.map((_, i) => `create database f${i}`),
    })
    const address = { host: '127.0.0.1', port: postgres.port }
    const wrong: string[] = []
    for (const [i, file] of files.entries()) {
      const statements = splitScript(readFileSync(join(folder, file), 'utf8'))
      const verdicts = await checkClassifier(address, `f${i}`, statements)
      console.error(`${file}: ${verdicts.statements} statements, ${verdicts.plain} plain`)
      wrong.push(...verdicts.wrong.map((each) => `${file}: ${each}`))
    }
    // A text does not tell what a function that it calls does, nor that a column has a sequence:
    // the pooler looks at functions, and sequences are discarded before anybody reads lastval().
    const hidden = wrong.filter((each) => /\n {4}sequences:|\w\(/.test(each))
    for (const each of hidden) console.error(`not told by the text: ${each}`)
    expect(wrong.filter((each) => !hidden.includes(each))).toEqual([])
  },
  LIMIT_MS,
)
