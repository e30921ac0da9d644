import { expect, test } from 'bun:test'
import { UsageError } from '../errors.ts'
import { parseSettings, settingOf, settingsFor } from './settings.ts'

const IDS = ['zone1_pooler1', 'zone1_pooler2']

function problemsOf(texts: readonly string[]): readonly string[] {
  try {
    parseSettings(texts, IDS)
  } catch (error) {
    if (error instanceof UsageError) return error.problems
  }
  return []
}

test('a setting of one member wins over that of its service', () => {
  const settings = parseSettings(['zone1_pooler2.pool_size=8', 'pooler.pool_size=4'], IDS)
  const subject = (id: string) => ({ service: 'pooler', id })
  expect(settingOf(settings, subject('zone1_pooler1'), 'pool_size')).toBe('4')
  expect(settingOf(settings, subject('zone1_pooler2'), 'pool_size')).toBe('8')
  expect(settingsFor(settings, { service: 'orch', id: 'zone1_orch1' })).toEqual([])
})

test('a value keeps everything after the first equals sign', () => {
  const [setting] = parseSettings(['postgres.search_path=a,"b=c"'], IDS)
  expect(setting).toEqual({ target: 'postgres', key: 'search_path', value: 'a,"b=c"' })
})

test('every wrong setting is told at once', () => {
  const problems = problemsOf(['nonsense', 'zone9_pooler1.x=1', 'pooler.topology=etcd'])
  expect(problems).toHaveLength(3)
  expect(problems[0]).toContain('not SERVICE.KEY=VALUE')
  expect(problems[1]).toContain('zone9_pooler1')
  expect(problems[2]).toContain('the cluster decides topology itself')
})
