import { describe, expect, test } from 'bun:test'
import {
  bindComplete,
  closeComplete,
  commandComplete,
  dataRow,
  noData,
  parameterDescription,
  parseComplete,
  readyForQuery,
  rowDescription,
} from '../../shared/pgwire/backend.ts'
import { errorResponse } from '../../shared/pgwire/error-fields.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { ReplyTracker } from './reply-tracker.ts'

const error = errorResponse({ severity: 'ERROR', code: '22012', message: 'division by zero' })
const idle = readyForQuery(TransactionStatus.Idle)

function tracking(sent: [number, boolean][]): { tracker: ReplyTracker; confirmed: () => number } {
  let confirmed = 0
  const tracker = new ReplyTracker({ confirm: () => void confirmed++, cleared() {} })
  tracker.begin()
  for (const [type, matters] of sent) tracker.sent(type, matters)
  return { tracker, confirmed: () => confirmed }
}

const { Parse, Bind, Describe, Execute, Close } = Frontend

describe('reply tracker', () => {
  test('follows a response up to the last reply that matters, cut at every byte', () => {
    const response = Buffer.concat([
      parseComplete(),
      bindComplete(),
      parameterDescription([23]),
      rowDescription([{ name: 'a', typeOid: 23 }]),
      dataRow(['1'.repeat(50)]),
      commandComplete('SELECT 1'),
      closeComplete(),
    ])
    for (let cut = 0; cut <= response.length; cut++) {
      const { tracker, confirmed } = tracking([
        [Parse, true],
        [Bind, false],
        [Describe, false],
        [Execute, false],
        [Close, true],
      ])
      tracker.feed(response, 0, cut)
      expect(tracker.active).toBe(cut < response.length - closeComplete().length + 5)
      tracker.feed(response, cut, response.length)
      expect(confirmed()).toBe(2)
      expect(tracker.active).toBe(false)
      expect(tracker.outstanding).toBe(0)
    }
  })

  test('what does not matter is not followed', () => {
    const { tracker } = tracking([
      [Bind, false],
      [Execute, false],
    ])
    expect(tracker.active).toBe(false)
  })

  test('an error belongs to the first message that is not answered, cut at every byte', () => {
    const response = Buffer.concat([parseComplete(), bindComplete(), error, idle])
    const errorAt = parseComplete().length + bindComplete().length
    for (let cut = 0; cut <= response.length; cut++) {
      const { tracker, confirmed } = tracking([
        [Parse, true],
        [Bind, true],
        [Parse, true],
        [Bind, true],
      ])
      tracker.feed(response, 0, cut)
      const seen = tracker.errorAt
      if (tracker.active) tracker.feed(response, cut, response.length)
      expect(confirmed()).toBe(1)
      expect(tracker.failed).toBe(Parse)
      expect(tracker.failedAtChange).toBe(true)
      if (cut <= errorAt) expect(tracker.errorAt).toBe(errorAt)
      if (cut >= errorAt + 5) expect(seen).toBe(errorAt)
    }
  })

  test('all of it is followed when asked for, and Describe has one answer of two messages', () => {
    const { tracker } = tracking([
      [Describe, false],
      [Execute, false],
    ])
    tracker.followAll()
    tracker.feed(parameterDescription([]), 0, parameterDescription([]).length)
    expect(tracker.outstanding).toBe(2)
    tracker.feed(noData(), 0, noData().length)
    expect(tracker.outstanding).toBe(1)
    const rows = Buffer.concat([dataRow(['x']), dataRow(['y']), commandComplete('SELECT 2')])
    tracker.feed(rows, 0, rows.length)
    expect(tracker.outstanding).toBe(0)
    expect(tracker.active).toBe(true)
  })
})
