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
	"regexp"
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

var (
	id     = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	voteID = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

const within = 30 * time.Second // a record that comes to the log later might not count

func main() {
	show, poll := os.Args[1], os.Args[2]
	topic := os.Getenv("AIRTALLY_TOPIC")
	if topic == "" {
		topic = "votes"
	}
	secret := os.Getenv("AIRTALLY_EDGE_SECRET")
	if len(secret) < 32 || !id.MatchString(show) || !id.MatchString(poll) {
		log.Fatal("show and poll are ids; AIRTALLY_EDGE_SECRET has 32 characters or more")
	}
	showKey := code([]byte(secret), "airtally voter pseudonym 1\x00"+show+"\x01")

	client, err := kgo.NewClient( // idempotent and acks=all unless told otherwise
		kgo.SeedBrokers(strings.Split(os.Getenv("AIRTALLY_KAFKA"), ",")...),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2, as Java
		kgo.RecordDeliveryTimeout(within),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var records []*kgo.Record
	refused := 0
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 || !voteID.MatchString(fields[0]) || !id.MatchString(fields[1]) || fields[2] == "" {
			refused++
			continue
		}
		voterID := base64.RawURLEncoding.EncodeToString(code(showKey, fields[2])[:16]) // the person stays here
		value, err := json.Marshal(vote{
			"vote", fields[0], show, poll, fields[1], voterID, time.Now().UnixMilli(), "go-1", "web",
		})
		if err != nil {
			log.Fatal(err)
		}
		records = append(records, &kgo.Record{Key: []byte(voterID), Value: value})
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	inTime, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := client.ProduceSync(inTime, records...).FirstErr(); err != nil {
		log.Fatal(err) // in the log or not: the viewers send again, with the same ids
	}
	fmt.Printf("%d acknowledged\n", len(records))
	if refused > 0 {
		log.Fatalf("%d refused: no vote", refused)
	}
}

func code(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
