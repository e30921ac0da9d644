import { afterEach, beforeEach, expect, test } from 'bun:test'
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nullLogger } from '../../shared/log/logger.ts'
import { readJournal } from '../../shared/events/journal-file.ts'
import { EventJournal } from './journal.ts'
import { streamEvents } from './stream.ts'

const PLACE = { database: 'postgres', shard: '0-inf' }
const PART_BYTES = 1024 * 1024

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'mg-events-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const open = (stateDir: string | undefined = dir): EventJournal =>
  new EventJournal({ orchId: 'zone1_orch1', stateDir, log: nullLogger })

async function write(count: number, text = 'text'): Promise<void> {
  await using journal = open()
  for (let n = 0; n < count; n++) journal.add(PLACE, 'problem.found', { text: `${text} ${n}` })
}

test('what was told is there after a restart, and numbers go on', async () => {
  await write(3)
  await write(2)
  await using journal = open()
  expect(journal.kept.map(({ seq, text }) => [seq, text])).toEqual([
    [1n, 'text 0'],
    [2n, 'text 1'],
    [3n, 'text 2'],
    [4n, 'text 0'],
    [5n, 'text 1'],
  ])
})

test('a line that a crash cut short costs itself and nothing else', async () => {
  await write(1)
  appendFileSync(join(dir, 'events.jsonl'), '{"at":"2026-01-01T00:00:00Z","by":"zo')
  await write(1, 'after')
  expect(readJournal(dir).map(({ text }) => text)).toEqual(['text 0', 'after 0'])
})

test('its files are bounded', async () => {
  const long = 'x'.repeat(1900)
  for (let round = 0; round < 5; round++) await write(300, long)
  expect(readdirSync(dir).toSorted()).toEqual(['events.1.jsonl', 'events.jsonl'])
  for (const name of readdirSync(dir)) {
    expect(statSync(join(dir, name)).size).toBeLessThan(2 * PART_BYTES)
  }
  expect(readJournal(dir).at(-1)?.seq).toBe(1500n)
})

test('a folder that cannot be written costs the file only', async () => {
  const file = join(dir, 'file')
  writeFileSync(file, '')
  await using journal = open(join(file, 'below'))
  journal.add(PLACE, 'problem.found', { text: 'kept' })
  expect(journal.kept).toHaveLength(1)
})

test('who follows gets all that is kept, then what comes, and only of its shard', async () => {
  await using journal = open(undefined)
  journal.add(PLACE, 'problem.found', { text: 'before' })
  const ended = new AbortController()
  const request = { ...PLACE, follow: true, afterSeq: 0n }
  const stream = streamEvents(journal, request, ended.signal)
  const told: string[] = []
  for await (const { events, live } of stream) {
    told.push(...events.map(({ text }) => text), ...(live && events.length === 0 ? ['-'] : []))
    if (told.length === 2) {
      journal.add({ ...PLACE, shard: 'other' }, 'problem.found', { text: 'other' })
      journal.add(PLACE, 'problem.gone', { text: 'after' })
    }
    if (told.includes('after')) ended.abort()
  }
  expect(told).toEqual(['before', '-', 'after'])
})

test('who does not take what comes loses the oldest, and is told how many', async () => {
  await using journal = open(undefined)
  using follower = journal.follow()
  for (let n = 0; n < 1500; n++) journal.add(PLACE, 'problem.found', { text: `${n}` })
  const { events, lost } = await follower.take(new AbortController().signal)
  expect({ lost, first: events[0]?.text, count: events.length }).toEqual({
    lost: 500,
    first: '500',
    count: 1000,
  })
})
