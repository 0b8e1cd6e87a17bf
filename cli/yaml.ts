// YAML as a person would write it into a file. A file of its own, loaded only where YAML is wanted: the library is
// CommonJS, and of such a one only a static import gets names in a bundle.
import { stringify } from 'yaml';

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0 });
}
