// What names and first words say by themselves, wherever they stand in a statement.

import { Look, Pin } from '../../shared/link/frame.ts'
import { Word } from './sql-words.ts'
import { IN_DOUBT, Trait } from './traits.ts'

/** By function or relation. */
export const FUNCTION_TRAITS: Readonly<Record<number, number>> = {
  [Word.SetConfig]: Trait.Mentions,
  [Word.CustomSetting]: Pin.Settings | Pin.NotCleanable | Look.Settings | Trait.LocalSettings,
  [Word.Setseed]: Pin.Setseed,
  [Word.Sequence]: Trait.Advances | Trait.Draws,
  [Word.SequenceRead]: Pin.Sequence,
  [Word.AdvisoryLock]: Pin.AdvisoryLock,
  [Word.AdvisoryUnlock]: Look.Pins,
  [Word.PgTemp]: Pin.TempObjects,
  [Word.SessionBound]: Pin.Unknown | Pin.NotCleanable | Look.Settings | Trait.Mentions,
  [Word.RunsText]: Trait.Mentions,
  [Word.MakesText]: IN_DOUBT,
  // The view shows what sessions share, too.
  [Word.PreparedStatements]: Pin.Unknown | Pin.SqlPrepare | Look.Settings | Trait.UsesNames,
  [Word.SynchronousCommit]: Trait.Mentions,
  [Word.ConsoleDatabase]: Trait.Mentions,
  [Word.ListeningChannels]: Look.Pins | Trait.Mentions,
}

/** By first word, for commands of which it says it all; one that is not here is in doubt. */
export const COMMAND_TRAITS: Readonly<Record<number, number>> = {
  [Word.Plain]: 0,
  [Word.Select]: 0,
  [Word.Show]: 0,
  [Word.Begin]: 0,
  [Word.With]: 0,
  [Word.Create]: Trait.ChangesCatalog,
  [Word.Alters]: Trait.ChangesCatalog,
  [Word.Drops]: Look.Pins | Trait.ChangesCatalog,
  [Word.Insert]: Trait.Advances,
  [Word.Fills]: Trait.Advances,
  [Word.Update]: 0,
  [Word.Explain]: 0,
  [Word.Declare]: 0,
  [Word.Undoes]: Look.Pins,
  [Word.Listen]: Pin.Listen | Trait.Mentions,
  [Word.Unlisten]: Look.Pins | Trait.Mentions,
  [Word.Load]: Pin.NotCleanable | Pin.Unknown | Look.Settings,
  [Word.Execute]:
    Pin.SqlPrepare | Pin.AdvisoryLock | Trait.UsesNames | Trait.MayCommit | Trait.Advances,
  [Word.Set]: Trait.Mentions,
  [Word.Reset]: Trait.Mentions,
  [Word.Do]: Trait.Mentions | Trait.ChangesCatalog,
  // What the procedure does is in the watch list, if it does anything.
  [Word.Call]: Trait.Advances | Trait.MayCommit | Trait.LocalSettings | Trait.NotShared,
}
