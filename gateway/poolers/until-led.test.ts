// Goal: a login outlives its leader, and nothing else that fails is tried twice.
import { expect, test } from 'bun:test'
import { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { untilLed } from './until-led.ts'

const NOT_NOW = new PgError('cannot_connect_now', 'nobody serves', { severity: 'FATAL' })
const WAIT_MS = 60_000

/** A step that fails with each of `errors`, then works; and how often somebody waited for news. */
function login(errors: unknown[]): { step: () => Promise<string>; news: number[] } {
  const left = [...errors]
  const step = async (): Promise<string> => {
    if (left.length > 0) throw left.shift()
    return 'in'
  }
  return { step, news: [] }
}

async function outcome(errors: unknown[], ms: number): Promise<[unknown, number]> {
  const { step, news } = login(errors)
  const router = { nextLeader: async (most: number) => void news.push(most) }
  const result = await untilLed(router, ms, step).catch((error: unknown) => error)
  return [result, news.length]
}

test('who cannot be served yet waits for the next leader', async () => {
  expect(await outcome([NOT_NOW, NOT_NOW], WAIT_MS)).toEqual(['in', 2])
})

test('also when a backend or its pooler said so', async () => {
  expect(await outcome([fromPgError(NOT_NOW)], WAIT_MS)).toEqual(['in', 1])
})

test('what another try would not change is told at once', async () => {
  const wrong = new PgError('invalid_password', 'no')
  expect(await outcome([NOT_NOW, wrong], WAIT_MS)).toEqual([wrong, 1])
})

test('a leader is waited for as long as was said', async () => {
  expect(await outcome([NOT_NOW, NOT_NOW], 0)).toEqual([NOT_NOW, 0])
})
