// Goal: no acknowledged write is lost by stops, starts, or the death of the leader's Postgres.
// Method: restarts.ts; three stops and starts here.
import { test } from 'bun:test'
import { restartUnderAWriter } from './restarts.ts'

test(
  'three restarts and a killed Postgres of the leader lose no acknowledged write',
  () => restartUnderAWriter(3),
  150_000,
)
