import { expect, test } from 'bun:test'
import {
  databaseKey,
  liveKey,
  parseServiceKey,
  poolerKey,
  readCell,
  readDatabase,
  readService,
  readShardClaim,
  shardClaimKey,
} from './records.ts'

test('keys are levels of escaped names', () => {
  expect(poolerKey('zone1', 'zone1_pooler1')).toBe('cells/zone1/poolers/zone1_pooler1')
  expect(liveKey('gateways', 'zone1', 'g')).toBe('cells/zone1/live/gateways/g')
  expect(shardClaimKey('postgres', '0-inf')).toBe('databases/postgres/default/0-inf/init-claim')
  expect(databaseKey('a/b ö%')).toBe('databases/a%2Fb%20%C3%B6%25')
})

test('a service key is read back, any other key is none', () => {
  const names = { kind: 'poolers', cell: 'z/1', id: 'ü' } as const
  expect(parseServiceKey(poolerKey('z/1', 'ü'))).toEqual({ ...names, live: false })
  expect(parseServiceKey(liveKey('poolers', 'z/1', 'ü'))).toEqual({ ...names, live: true })
  for (const key of [
    '',
    'cells/a',
    'cells/a/locks/b',
    'cells/a/poolers/b/c',
    'cells/a/poolers/%',
  ]) {
    expect(parseServiceKey(key)).toBeUndefined()
  }
})

test('a record with a field of a newer version is good', () => {
  expect(readCell('{"name": "zone1", "altitude": 7}')).toHaveProperty('name', 'zone1')
})

test('a bad record names every bad field', () => {
  const problems = (read: () => unknown) => {
    try {
      return read()
    } catch (error) {
      return (error as Error).message
    }
  }
  expect(problems(() => readCell('zone1'))).toBe('not JSON')
  expect(problems(() => readCell('[]'))).toBe('not an object')
  expect(problems(() => readCell('null'))).toBe('not an object')
  expect(problems(() => readService('orchs', '{"id": "", "cell": "z", "http": 7}'))).toBe(
    'id is not a name, http is not a name, grpc is not a name',
  )
  expect(
    problems(() =>
      readDatabase(
        '{"name": "d", "clusterId": "c", "durability": "at_least_2", "shards": [1], "cells": "z"}',
      ),
    ),
  ).toBe('shards is not a name, cells is not a list')
  expect(
    problems(() =>
      readShardClaim(
        '{"claimer": "o", "first": "p", "incarnations": {"p": 1}, "attempt": 1.5, "state": "x"}',
      ),
    ),
  ).toBe(
    'incarnations is not a name, attempt is not an integer from 0 to 9007199254740991, ' +
      'state is none of claimed, decided',
  )
})
