import { expect, test } from 'bun:test'
import {
  commandComplete,
  notificationResponse,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { UnitAnswers } from './unit-answers.ts'

const NOTIFICATION = notificationResponse(7, 'channel', 'payload')
const ANSWER = Buffer.concat([
  commandComplete('DEALLOCATE ALL'),
  NOTIFICATION,
  NOTIFICATION,
  readyForQuery(TransactionStatus.Idle),
])

test('notifications are found, wherever the answer is cut', () => {
  for (let cut = 0; cut <= ANSWER.length; cut += 1) {
    const answers = new UnitAnswers()
    const found = [answers.take(1, ANSWER, 0, cut), answers.take(1, ANSWER, cut, ANSWER.length)]
    expect(Buffer.concat(found)).toEqual(Buffer.concat([NOTIFICATION, NOTIFICATION]))
  }
})

test('an answer that broke off leaves nothing to the next', () => {
  const answers = new UnitAnswers()
  expect(answers.take(1, ANSWER, 0, 25)).toHaveLength(0)
  expect(answers.take(2, NOTIFICATION, 0, NOTIFICATION.length)).toEqual(NOTIFICATION)
})
