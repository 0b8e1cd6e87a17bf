// Every kind of workload, Jobs, containers and their files, restarts, and what a start costs: on one installation.
import { describeContainers } from './containers.ts';
import { describeJobs } from './jobs.ts';
import { type InjectStage, setInjectStage } from './stage.ts';
import { describeStartTime } from './start-time.ts';
import { describeWorkloads } from './workloads.ts';

describe('injection on a node', function () {
  this.timeout(300_000);
  let stage: InjectStage;
  before(async () => {
    stage = await setInjectStage();
  });
  after(async () => stage?.clear());

  describeWorkloads(() => stage);
  describeContainers(() => stage);
  describeJobs(() => stage);
  describeStartTime(() => stage);
});
