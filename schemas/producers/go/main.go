// Publishes votes from Go: lines of vote id, option and voter, separated by tabs.
package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type vote struct {
	Type     string `json:"type"`
	VoteID   string `json:"vote_id"`
	ShowID   string `json:"show_id"`
	PollID   string `json:"poll_id"`
	OptionID string `json:"option_id"`
	VoterID  string `json:"voter_id"`
	CastAt   int64  `json:"cast_at"`
	EdgeID   string `json:"edge_id"`
	Channel  string `json:"channel"`
}

func main() {
	show, poll := os.Args[1], os.Args[2]
	topic := os.Getenv("AIRTALLY_TOPIC")
	if topic == "" {
		topic = "votes"
	}
	showKey := code([]byte(os.Getenv("AIRTALLY_EDGE_SECRET")), "airtally voter pseudonym 1\x00"+show+"\x01")

	client, err := kgo.NewClient( // idempotent and acks=all unless told otherwise
		kgo.SeedBrokers(strings.Split(os.Getenv("AIRTALLY_KAFKA"), ",")...),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2, as Java
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var records []*kgo.Record
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		voterID := base64.RawURLEncoding.EncodeToString(code(showKey, fields[2])[:16]) // the person stays here
		value, err := json.Marshal(vote{
			"vote", fields[0], show, poll, fields[1], voterID, time.Now().UnixMilli(), "go-1", "web",
		})
		if err != nil {
			log.Fatal(err)
		}
		records = append(records, &kgo.Record{Key: []byte(voterID), Value: value})
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d acknowledged\n", len(records))
}

func code(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
