import { expect, test } from 'bun:test'
import type { Rows } from '../backend/admin-connection.ts'
import { LoginQuestions } from './login.ts'

/** Answers each query with a verifier of its own, and only when told to. */
class FakeAdmin {
  readonly asked: (readonly (string | null)[])[] = []

  query(_statement: string, values: readonly (string | null)[]): Promise<Rows> {
    this.asked.push(values)
    return Promise.resolve([['t', `verifier ${this.asked.length}`, 't']])
  }
}

const ALICE = { user: 'alice', database: 'db' }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('alike questions of one turn are one, others are not', async () => {
  const admin = new FakeAdmin()
  const questions = new LoginQuestions(admin)
  const [one, two, bob] = await Promise.all([
    questions.ask(ALICE),
    questions.ask({ ...ALICE }),
    questions.ask({ ...ALICE, user: 'bob' }),
    questions.ask({ ...ALICE, roles: ['bob'] }),
  ])
  expect(admin.asked).toHaveLength(3)
  expect(two).toEqual(one)
  expect(bob).not.toEqual(one)
})

test('a question of a later turn is read anew', async () => {
  const admin = new FakeAdmin()
  const questions = new LoginQuestions(admin)
  const before = await questions.ask(ALICE)
  await turn()
  expect(await questions.ask(ALICE)).not.toEqual(before)
  expect(admin.asked).toHaveLength(2)
})
