package airtally.peers;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Dedupes by vote id, holds each voter to the limit, and adds up; ids are keyed state, the sums are operator state. */
final class CountFunction extends KeyedProcessFunction<String, Vote, Void> implements CheckpointedFunction {
  private final Setup setup;
  private transient ValueState<long[]> idsOfVoter; // two longs for each vote id
  private transient ListState<Map<String, Long>> saved;
  private transient Map<String, Long> numbers;
  private transient Air air;
  private transient boolean writeIsDue;

  CountFunction(Setup setup) {
    this.setup = setup;
  }

  @Override
  public void open(OpenContext context) {
    idsOfVoter =
        getRuntimeContext()
            .getState(
                new ValueStateDescriptor<>("ids", PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO));
    air = new Air(setup.redis(), getRuntimeContext().getTaskInfo().getIndexOfThisSubtask());
  }

  @Override
  public void processElement(Vote vote, Context context, Collector<Void> out) throws Exception {
    numbers.merge(outcome(vote), 1L, Long::sum);
    if (!writeIsDue) {
      writeIsDue = true;
      var timers = context.timerService();
      timers.registerProcessingTimeTimer(timers.currentProcessingTime() + Air.WRITE_EVERY_MS);
    }
  }

  private String outcome(Vote vote) throws Exception {
    long[] ids = idsOfVoter.value();
    int length = ids == null ? 0 : ids.length;
    for (int index = 0; index < length; index += 2) {
      if (ids[index] == vote.idHigh && ids[index + 1] == vote.idLow) {
        return "duplicate";
      }
    }
    long[] more = ids == null ? new long[2] : Arrays.copyOf(ids, length + 2);
    more[length] = vote.idHigh;
    more[length + 1] = vote.idLow;
    idsOfVoter.update(more);
    return length / 2 >= setup.votesPerVoter() ? "over_limit" : vote.cell;
  }

  @Override
  public void onTimer(long timestamp, OnTimerContext context, Collector<Void> out) {
    writeIsDue = false;
    air.write(numbers);
  }

  @Override
  public void initializeState(FunctionInitializationContext context) throws Exception {
    saved =
        context
            .getOperatorStateStore()
            .getListState(new ListStateDescriptor<>("numbers", Types.MAP(Types.STRING, Types.LONG)));
    numbers = new HashMap<>();
    for (Map<String, Long> part : saved.get()) {
      part.forEach((name, number) -> numbers.merge(name, number, Long::sum));
    }
  }

  @Override
  public void snapshotState(FunctionSnapshotContext context) throws Exception {
    saved.update(java.util.List.of(new HashMap<>(numbers)));
  }

  @Override
  public void close() {
    if (air != null) {
      air.close();
    }
  }
}
